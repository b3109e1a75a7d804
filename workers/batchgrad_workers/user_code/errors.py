"""Errors in a user's code, told with their file and line."""

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

OWN = {"batchgrad", "batchgrad_workers", "batchgrad_engine", "batchgrad_service"}
INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages."""

_LIBRARY = sysconfig.get_path("stdlib")
_SHORTAGE = "DefaultCPUAllocator: can't allocate memory"
_LONGEST = 2000
"""Characters of an error's message that are shown."""


class UserCodeError(Exception):
    """A user's code can't be imported, raised an error, or returned something else."""


@contextmanager
def private_errors(package: str) -> Iterator[None]:
    """Inside, an error becomes one that tells its type and its place in `package`, but no message.

    A message may have numbers of private rows. As with `user_errors`, that is a UserCodeError, or a
    MemoryError where memory is short; a ValueError of a class of the workers, whose messages are
    written with care, stays.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, ValueError) and _top(type(error)) == "batchgrad_workers":
            raise
        if isinstance(error, MemoryError) or _SHORTAGE in message_of(error):
            raise MemoryError(_SHORTAGE) from None
        place = place_of(error, package) or "Computing private rows"
        raise UserCodeError(
            f"{place}: {type(error).__name__}. Its message may tell of private rows, so it is not "
            "shown: run the code on rows that are not private."
        ) from None


@contextmanager
def user_errors(package: str) -> Iterator[None]:
    """Inside, an error becomes a UserCodeError, which tells where in the top `package` it arose.

    Not so a ValueError of a class of ours, which has a message for the user. What torch says where
    memory is short becomes a MemoryError.
    """
    try:
        yield
    except (UserCodeError, MemoryError):
        raise
    except ValueError as error:
        if _top(type(error)) in OWN:
            raise
        raise UserCodeError(_told(error, package)) from error
    except (Exception, SystemExit) as error:
        if isinstance(error, RuntimeError) and _SHORTAGE in str(error):
            raise MemoryError(str(error)) from error
        raise UserCodeError(_told(error, package)) from error


def _top(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _told(error: BaseException, package: str) -> str:
    """An error with its place."""
    message, place = message_of(error), place_of(error, package)
    return f"{place}: {message}" if place else message


def message_of(error: BaseException) -> str:
    """An error's type and message, of bounded length and with an encoding in UTF-8."""
    try:
        message = str(error)[:_LONGEST]
    except Exception as failure:  # noqa: BLE001 (of the user's class)
        message = f"its message can't be told ({type(failure).__name__})"
    return f"{type(error).__name__}: {message.encode(errors='backslashreplace').decode()}"


def place_of(error: BaseException, package: str) -> str:
    """The innermost file and line of the package that an error passed; "" if it passed none."""
    if isinstance(error, SyntaxError):
        return f"{_short(error.filename or '?', package)}, line {error.lineno}"
    frames = traceback.walk_tb(error.__traceback__)
    places = [(frame.f_code, line) for frame, line in frames if _is_users(frame, package)]
    if not places:
        return ""
    code, line = places[-1]
    return f"{_short(code.co_filename, package)}, line {line}, in {code.co_name}"


def _is_users(frame: FrameType, package: str) -> bool:
    """Whether a frame is of the package, or of a module that is neither ours nor installed."""
    top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    file = frame.f_code.co_filename
    foreign = top in OWN or INSTALLED & set(Path(file).parts)
    return top == package or not (foreign or file.startswith(("<", _LIBRARY)))


def _short(file: str, package: str) -> str:
    """The file's path from the package on."""
    parts = Path(file).parts
    before = [n for n, part in enumerate(parts) if part == package]
    return "/".join(parts[before[-1] if before else -1 :])
