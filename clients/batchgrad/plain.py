"""Turn numpy's numbers and arrays, wherever they stand in a request, into Python's own."""

from collections.abc import Mapping
from typing import Any

_PYTHONS = {str, int, float, bool, bytes, type(None)}


def plain(value: Any) -> Any:
    """`value` with Python's numbers and lists for what knows `tolist`, keys of mappings too."""
    if type(value) in _PYTHONS:
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value
