"""Recognise a file's format from its first bytes and its name."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import get_args

from batchgrad.contract import FileFormat, UploadedFile
from batchgrad_service.datasets.careful_zip import MAX_DIRECTORY_BYTES, UNREADABLE, CarefulFile
from batchgrad_service.problems import InvalidError

_STARTS: tuple[tuple[bytes, FileFormat], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),  # a stream: an IPC message's length follows
)
_NAMES: dict[str, FileFormat] = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_UNREADABLE = (
    (b"\x1f\x8b", "compressed by gzip", "unpack it with gunzip"),
    (b"BZh", "compressed by bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it with unzstd"),
    (b"\x93NUMPY", "one array of numpy", "numpy.savez(file, inputs=X, targets=y) writes two"),
    (b"\x89HDF", "HDF5", "write Parquet, with pandas.read_hdf(…).to_parquet(…)"),
    (b"SQLite format 3\0", "a SQLite database", "write the table as CSV: sqlite3 -header -csv"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file", "save it as CSV (UTF-8)"),
    (b"FEA1", "Feather version 1", "write it again with pyarrow.feather.write_feather"),
    (b"PARE", "an encrypted Parquet file", "write it without encryption"),
    (b"Obj\x01", "Avro", "write Parquet or CSV"),
    (b"ORC", "ORC", "write Parquet or CSV"),
    (b"\x80\x04", "a Python pickle", "write Parquet, with pandas.read_pickle(…).to_parquet(…)"),
    (b"\x80\x05", "a Python pickle", "write Parquet, with pandas.read_pickle(…).to_parquet(…)"),
    (b"%PDF", "a PDF", "write its table as CSV"),
    (b"\x89PNG", "one picture", "send a zip of one folder of pictures for each class"),
    (b"\xff\xd8\xff", "one picture", "send a zip of one folder of pictures for each class"),
)  # fmt: skip


def recognised(path: Path, file: UploadedFile) -> FileFormat:
    """Return the format: the one given, else that of the first bytes, else that of the name.

    Raises:
        InvalidError: the file is empty, or of a format that cannot be read.
    """
    if file.format is not None:
        return file.format
    with path.open("rb") as opened:
        start = opened.read(64)
    if not start:
        raise InvalidError.field("/file", "The file is empty (0 bytes): was it written completely?")
    if start.startswith(b"PK"):
        return _zip_format(path)
    for magic, format_ in _STARTS:
        if start.startswith(magic):
            return format_
    for magic, what, remedy in _UNREADABLE:
        if start.startswith(magic):
            raise InvalidError.field(
                "/file", f"The file is {what}, which cannot be read: {remedy}."
            )
    suffix = PurePosixPath(file.name).suffix.lower()
    if suffix in _NAMES:
        return _NAMES[suffix]
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}:
        return "jsonl"
    raise InvalidError.field(
        "/file",
        f"The format of {file.name or 'the file':.100} is not known from its name or its first "
        f"bytes: name it, as in --format csv ({', '.join(get_args(FileFormat))}).",
    )


def _zip_format(path: Path) -> FileFormat:
    try:
        with CarefulFile(path, MAX_DIRECTORY_BYTES) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except UNREADABLE as error:
        raise InvalidError.field(
            "/file",
            f"The file begins as a zip (or npz), but is damaged ({error!s:.200}): was it written "
            "completely? Write it again.",
        ) from error
    if "[Content_Types].xml" in names:
        raise InvalidError.field(
            "/file",
            "The file is of Excel, or another Office program: save the table as CSV (UTF-8).",
        )
    return "npz" if any(name.endswith(".npy") for name in names) else "pictures"
