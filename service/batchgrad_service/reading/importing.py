"""Import a file of any format: write the arrays of its content to a directory, and describe it."""

from dataclasses import replace
from pathlib import Path

from batchgrad.contract import ImportRequest
from batchgrad.contract.tables import Table, TableOptions
from batchgrad_service.datasets.validation import Content, inspect
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.columns.inference import infer
from batchgrad_service.reading.formats.format import TableFormat
from batchgrad_service.reading.formats.recognition import recognised
from batchgrad_service.reading.formats.registry import FORMATS
from batchgrad_service.reading.repeated_ids import repeated_ids
from batchgrad_service.reading.row_progress import RowProgress
from batchgrad_service.reading.table_content import write_content, write_table
from batchgrad_service.reading.table_source import TableSource


def import_file(
    path: Path,
    request: ImportRequest,
    directory: Path,
    *,
    max_bytes: int,
    progress: RowProgress,
) -> Content:
    """Write the arrays of the file at `path` to `directory`, and describe them.

    Raises:
        InvalidError: the file cannot be read, or its content cannot be trained on.
        TooLargeError: the arrays hold more than `max_bytes` together.
        OSError: the disk does not take them.
    """
    format_ = FORMATS[recognised(path, request.file)]
    if isinstance(format_, TableFormat):
        source = format_.open(path, request.file)
        return import_table(source, request, directory, max_bytes=max_bytes, progress=progress)
    _refuse_table_options(request.table, format_.title)
    progress(0, None)
    classes = format_.unpack(path, directory, request.file, max_bytes=max_bytes)
    if classes is not None:
        write_table(Table(columns=[], classes=classes), directory)
    content = inspect(directory)
    progress(content.examples, content.examples)
    return content


def _refuse_table_options(options: TableOptions, format_title: str) -> None:
    for key, default in TableOptions():
        if getattr(options, key) != default:
            raise InvalidError.field(
                f"/table/{key}",
                f"{key} is about columns, but {format_title} holds arrays, which have none: leave "
                "it out.",
            )


def import_table(
    source: TableSource,
    request: ImportRequest,
    directory: Path,
    *,
    max_bytes: int,
    progress: RowProgress,
) -> Content:
    """Import the rows of `source`; reads them twice, so a row is half done after the first time."""
    rows = source.rows

    def first(read: int) -> None:
        progress(read if rows is None else read // 2, rows)

    inferred = infer(source, request.table, request.file.text, first)
    total = inferred.read
    write_content(
        inferred,
        directory,
        max_bytes=max_bytes,
        progress=lambda read: progress((total + read) // 2, total),
    )
    content = inspect(directory)
    warnings = [*inferred.table.warnings, *repeated_ids(directory, inferred.table)]
    return replace(content, table=inferred.table.model_copy(update={"warnings": warnings}))
