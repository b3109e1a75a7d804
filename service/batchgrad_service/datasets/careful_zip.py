"""Open zip archives without trusting their directories: bounded reads, no seeks outside."""

import io
import os
import struct
import zipfile
import zlib

UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    NotImplementedError,
    UnicodeDecodeError,
)
"""What zipfile raises for a damaged archive."""

MAX_DIRECTORY_BYTES = 2**26
"""Of an archive with many members: 700,000 pictures, for example."""

_COMPRESSIONS = {
    zipfile.ZIP_STORED: None,
    zipfile.ZIP_DEFLATED: None,
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "lzma",
}


def refused_compression(member: zipfile.ZipInfo) -> str | None:
    """Name the member's compression, if it is none of deflate and none.

    zipfile unpacks bzip2 and lzma without a limit on memory.
    """
    return _COMPRESSIONS.get(member.compress_type, f"method {member.compress_type}")


class CarefulFile(io.FileIO):
    """A file that refuses large reads, and seeks outside of it, from a forged archive."""

    def __init__(self, path: os.PathLike[str], max_read_bytes: int) -> None:
        super().__init__(path)
        self._max_read_bytes = max_read_bytes

    def read(self, size: int | None = -1) -> bytes:
        """Read, unless a forged archive directory claims to be huge."""
        if size is not None and size > self._max_read_bytes:
            raise zipfile.BadZipFile(f"its directory claims {size} bytes")
        return super().read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek, unless a forged archive directory points outside."""
        if whence == os.SEEK_SET and not 0 <= offset <= os.fstat(self.fileno()).st_size:
            raise zipfile.BadZipFile("its directory points outside of the file")
        return super().seek(offset, whence)


class CarefulBytes(io.BytesIO):
    """Bytes that refuse seeks outside of them, from a forged archive."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek, unless a forged archive directory points outside."""
        if whence == os.SEEK_SET and not 0 <= offset <= len(self.getbuffer()):
            raise zipfile.BadZipFile("its directory points outside of the file")
        return super().seek(offset, whence)
