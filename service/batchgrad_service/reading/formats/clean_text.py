"""The text of a file as UTF-8 without a byte order mark, checked while it is read in pieces."""

import codecs
import io
from pathlib import Path

from batchgrad_service.problems import InvalidError

MOST_LINE_BYTES = 2**23
_PIECE_BYTES = 2**20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_REMEDY = (
    "give the encoding that the file was written in, as in --encoding cp1252 (Windows, Western "
    "Europe), --encoding latin-1 or --encoding utf-16"
)


def checked_encoding(name: str) -> str:
    """Return Python's name of a text encoding. Raises InvalidError."""
    try:
        "".encode(name)
        found = codecs.lookup(name)
        found.incrementaldecoder("strict")
    except (LookupError, ValueError, TypeError) as error:
        raise InvalidError.field(
            "/file/text/encoding",
            f"{name!r:.100} is no encoding of text that is known here; {_REMEDY}.",
        ) from error
    return found.name


class CleanText(io.RawIOBase):
    """A file's text as UTF-8 bytes. Reading raises InvalidError where the file is no text."""

    def __init__(self, path: Path, encoding: str) -> None:
        """Open `path`; a byte order mark of UTF-8 or UTF-16 overrides UTF-8, the default."""
        self._file = path.open("rb")
        name = checked_encoding(encoding)
        start = self._file.peek(4)
        marked = next((found for mark, found in _MARKS if start.startswith(mark)), name)
        self.encoding = marked if name == "utf-8" else name
        codec = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        self._decoder = codecs.getincrementaldecoder(codec)("strict")
        self.quotes = 0  # that were read so far
        self._lines = 0
        self._line_bytes = 0
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        view = memoryview(target).cast("B")  # type: ignore[arg-type]
        while not self._ready and not self._ended:
            self._ready = self._next_piece()
        taken = self._ready[: len(view)]
        self._ready = self._ready[len(taken) :]
        view[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _next_piece(self) -> bytes:
        piece = self._file.read(_PIECE_BYTES)
        self._ended = not piece
        try:
            text = self._decoder.decode(piece, final=self._ended)
        except UnicodeError as error:
            raise self._not_encoded(error) from error
        if "\0" in text:
            line = self._lines + text[: text.index("\0")].count("\n") + 1
            raise InvalidError.field(
                "/file",
                f"Line {line} has a NUL byte, so this is no text in {self.encoding}; {_REMEDY}, "
                "or the file's format, as in --format parquet.",
            )
        encoded = text.encode("utf-8", "replace")  # utf-16 may hold half a surrogate pair
        self._lines += encoded.count(b"\n")
        self.quotes += encoded.count(b'"')
        end = max(encoded.rfind(b"\n"), encoded.rfind(b"\r"))
        self._line_bytes = len(encoded) - end - 1 + (self._line_bytes if end < 0 else 0)
        if self._line_bytes > MOST_LINE_BYTES:
            raise InvalidError.field(
                "/file",
                f"Line {self._lines + 1} has more than {MOST_LINE_BYTES} bytes: expected a row of "
                "the table in each line; is this another format, as in --format parquet?",
            )
        return encoded

    def _not_encoded(self, error: UnicodeError) -> InvalidError:
        if not isinstance(error, UnicodeDecodeError):  # utf-16 without its mark, for example
            return InvalidError.field("/file", f"This is not {self.encoding} ({error}); {_REMEDY}.")
        before = error.object[: error.start].decode(self.encoding, "replace")
        line = self._lines + before.count("\n") + 1
        start = before.rpartition("\n")[2]
        wrong = error.object[error.start : error.start + 1].hex()
        return InvalidError.field(
            "/file",
            f"Line {line} has the byte 0x{wrong} after {start[-20:]!r}, which is not "
            f"{self.encoding}; {_REMEDY}.",
        )
