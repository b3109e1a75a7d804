"""Make stdout and stderr writable if their encoding lacks characters, or if they are closed."""

import codecs
import io
import os
import sys

_SPELLED = {
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "→": "->",
    "←": "<-",
    "×": "x",
    "·": "*",
    "‖": "||",
}


def prepare() -> None:
    """Replace characters that a stream's encoding lacks; open a closed stream to /dev/null."""
    codecs.register_error("batchgrad.spelled", _spelled)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="batchgrad.spelled")


def takes_unicode() -> bool:
    """Whether stdout can write any character; if not, JSON and YAML escape them."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name.startswith("utf")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    spelled = (_SPELLED.get(c, c.encode("ascii", "backslashreplace").decode()) for c in lacking)
    return "".join(spelled), error.end
