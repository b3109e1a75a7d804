"""All formats of files, and which one a file has."""

from collections.abc import Mapping
from types import MappingProxyType

from batchgrad.contract import FileFormat
from batchgrad_service.reading.formats.arrow import open_arrow
from batchgrad_service.reading.formats.delimited.table import open_csv, open_tsv
from batchgrad_service.reading.formats.format import ArrayFormat, Format, TableFormat
from batchgrad_service.reading.formats.json_lines.table import open_json_lines
from batchgrad_service.reading.formats.npz import unpack_npz
from batchgrad_service.reading.formats.parquet import open_parquet
from batchgrad_service.reading.formats.pictures.unpacking import unpack_pictures

FORMATS: Mapping[FileFormat, Format] = MappingProxyType(
    {
        "csv": TableFormat("CSV", open_csv),
        "tsv": TableFormat("TSV", open_tsv),
        "npz": ArrayFormat("npz", unpack_npz),
        "npy": ArrayFormat("npy", unpack_npz),
        "pictures": ArrayFormat("a zip of pictures", unpack_pictures),
        "jsonl": TableFormat("JSON lines", open_json_lines),
        "arrow": TableFormat("Arrow", open_arrow),
        "parquet": TableFormat("Parquet", open_parquet),
    }
)
