"""Warnings at the line of the user's code that called the client."""

import inspect
import traceback
import warnings
from types import FrameType


def warn_user(text: str) -> None:
    """A UserWarning at the nearest line outside of batchgrad."""
    frames = enumerate(traceback.walk_stack(inspect.currentframe()), 1)
    level = next(n for n, (frame, _) in frames if not _ours(frame))
    warnings.warn(text, stacklevel=level)


def _ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "batchgrad"
