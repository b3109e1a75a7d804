"""Convert numpy's numbers and arrays in a request to Python's own."""

import math
from collections.abc import Mapping
from typing import Any

_PYTHONS = {str, int, float, bool, bytes, type(None)}


def plain(value: Any) -> Any:
    """`value` with numbers and lists instead of objects with `tolist`, keys of mappings too."""
    if type(value) in _PYTHONS:
        return value
    if isinstance(value, Mapping):
        return {unwrapped(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return unwrapped(value)


def unwrapped(value: Any) -> Any:
    """`value`, or the Python number or list that numpy's `tolist` gives for it."""
    return value.tolist() if hasattr(value, "tolist") else value


def nonfinite(value: Any, place: str = "") -> str | None:
    """The place of the first NaN or infinity in `value`, such as "inputs[1][0] is nan"."""
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place or 'it'} is {value}"
    if isinstance(value, Mapping):
        parts = [(f"{place}.{key}" if place else str(key), one) for key, one in value.items()]
    elif isinstance(value, list):
        parts = [(f"{place}[{index}]", one) for index, one in enumerate(value)]
    else:
        return None
    found = (nonfinite(one, name) for name, one in parts)
    return next((where for where in found if where is not None), None)
