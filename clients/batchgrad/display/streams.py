"""Write to stdout and stderr where they cannot show every character, or are closed."""

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
    """Spell what a stream's encoding lacks; write to nowhere what a closed one should get."""
    codecs.register_error("batchgrad.spelled", _spelled)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="batchgrad.spelled")


def takes_unicode() -> bool:
    """Whether stdout can write any character; JSON and YAML escape them else."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name.startswith("utf")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    spelled = (_SPELLED.get(c, c.encode("ascii", "backslashreplace").decode()) for c in lacking)
    return "".join(spelled), error.end
