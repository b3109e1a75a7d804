"""Check the arguments of the client's methods before anything is sent."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from sys import float_info
from typing import Any, TypeVar
from urllib.parse import quote

from batchgrad.errors import InvalidArgument
from batchgrad.parsing.plain import unwrapped

Checked = TypeVar("Checked")
_FOREVER = 1e12


def optional(check: Callable[[str, Any], Checked], name: str, value: Any) -> Checked | None:
    """The checked value, or None for None."""
    return None if value is None else check(name, value)


def segment(name: str, value: Any) -> str:
    """An id or a name, as a part of a URL's path."""
    checked = text(name, value)
    if checked in {".", ".."}:
        raise InvalidArgument(f"{name} is {checked!r}; '.' and '..' cannot be names.")
    return quote(checked, safe="")


def text(name: str, value: Any) -> str:
    """Text that is not blank and can be encoded."""
    if not isinstance(value, str):
        hint = f": give its id, {name.removesuffix('_id')}.id" if hasattr(value, "id") else ""
        raise InvalidArgument(f"{name} is {_kind(value)}; expected text{hint}.")
    if not value.strip():
        raise InvalidArgument(f"{name} is empty.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{name} contains a character that is not valid Unicode.") from error
    return value


def header(name: str, value: Any) -> str:
    """Text for a header: up to 255 printable ASCII characters."""
    checked = text(name, value)
    if not (checked.isascii() and checked.isprintable() and len(checked) <= 255):
        raise InvalidArgument(f"{name} must be up to 255 printable ASCII characters.")
    return checked


def truth(name: str, value: Any) -> bool:
    """True or False, of Python or numpy."""
    known = unwrapped(value)
    if not isinstance(known, bool):
        raise InvalidArgument(f"{name} is {_got(value)}; expected True or False.")
    return known


def whole(name: str, value: Any, least: int = 0) -> int:
    """An integer of Python or numpy, below 2**63; True and False are not integers here."""
    number = unwrapped(value)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number < 2**63:
        raise InvalidArgument(
            f"{name} is {_got(value)}; expected an integer from {least} to {2**63 - 1}."
        )
    return number


def positive(name: str, value: Any) -> float:
    """A finite number above 0."""
    number = unwrapped(value)
    known = isinstance(number, int | float) and not isinstance(number, bool)
    if not (known and 0 < number <= float_info.max):
        raise InvalidArgument(f"{name} is {_got(value)}; expected a finite number above 0.")
    return float(number)


def seconds(name: str, value: Any) -> float:
    """A time of 0 seconds or more, below 1e12."""
    number = unwrapped(value)
    known = isinstance(number, int | float) and not isinstance(number, bool)
    if not (known and 0 <= number < _FOREVER):
        raise InvalidArgument(
            f"{name} is {_got(value)}; expected seconds, at least 0 and below 1e12."
        )
    return float(number)


def timeout(name: str, value: Any) -> float | None:
    """A time to wait of 0 seconds or more; None is forever."""
    return None if value is None else seconds(name, value)


def texts(name: str, value: Any) -> list[str]:
    """A list of text; a single text becomes a list."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, Sequence | set | frozenset):
        raise InvalidArgument(f"{name} is {_kind(value)}; expected a list of text.")
    return [text(name, word) for word in words]


def function(name: str, value: Any) -> Callable[..., Any]:
    """Something that can be called."""
    if not callable(value):
        raise InvalidArgument(f"{name} is {_kind(value)}; expected a function.")
    return value


def path(name: str, value: Any) -> Path:
    """A path to a file."""
    try:
        made = Path(value)
    except TypeError as error:
        raise InvalidArgument(f"{name} is {_kind(value)}; expected a path.") from error
    try:
        named = made.name != "" and "\0" not in str(made) and bool(os.fsencode(made))
    except UnicodeEncodeError:
        named = False
    if not named:
        raise InvalidArgument(f"{name} is {str(value)!r:.100}, which is not the name of a file.")
    return made


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _got(value: Any) -> str:
    return repr(value)[:60] if isinstance(value, int | float) else _kind(value)
