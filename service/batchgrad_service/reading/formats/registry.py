"""All formats of files, and which one a file has."""

from collections.abc import Mapping
from types import MappingProxyType

from batchgrad.contract import FileFormat
from batchgrad_service.reading.formats.delimited.table import open_csv, open_tsv
from batchgrad_service.reading.formats.format import Format, TableFormat
from batchgrad_service.reading.formats.parquet import open_parquet

FORMATS: Mapping[FileFormat, Format] = MappingProxyType(
    {
        "csv": TableFormat("CSV", open_csv),
        "tsv": TableFormat("TSV", open_tsv),
        "parquet": TableFormat("Parquet", open_parquet),
    }
)
