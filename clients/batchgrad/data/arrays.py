"""Arrays of numpy, tensors of torch and whatever numpy can convert, as an npz."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from batchgrad.data.source import Source, temporary_file
from batchgrad.errors import InvalidArgument, Unavailable

Change = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
"""What to do with arrays before they are sent, given numpy."""

_OF_SAVEZ = {"file", "allow_pickle"}
"""Names of numpy.savez's own arguments."""


def are_arrays(data: Any) -> bool:
    """Whether `data` are arrays by name: at least one is an array, or a list of rows.

    A mapping of names to lists of single values is no such thing: it is a table's columns.
    """
    return (
        isinstance(data, Mapping)
        and all(isinstance(name, str) for name in data)
        and any(_is_array(value) for value in data.values())
    )


def _is_array(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and (isinstance(value[0], list | tuple) or _is_array(value[0]))
    framed = hasattr(value, "columns") or hasattr(value, "to_frame")
    single = not getattr(value, "ndim", 1)
    return (hasattr(value, "__array__") or hasattr(value, "detach")) and not (framed or single)


@contextmanager
def from_arrays(arrays: Mapping[str, Any], change: Change | None = None) -> Iterator[Source]:
    """Arrays by name, of one length n: inputs (n, …), targets (n,) or (n, out), or any others.

    weights (n,) and units (n,) say something about examples. `change` gets numpy and the arrays,
    and returns those to send. The client does not depend on numpy; a user with arrays has it.

    Raises:
        InvalidArgument: a value is not an array of numbers.
        Unavailable: numpy is not installed.
    """
    try:
        numpy = importlib.import_module("numpy")
    except ModuleNotFoundError as error:
        raise Unavailable(
            "Arrays need numpy, which is not installed: pip install numpy, or give an npz file."
        ) from error
    for name in _OF_SAVEZ & arrays.keys():
        raise InvalidArgument(f"numpy.savez writes no array of the name {name}: choose another.")
    changed = arrays if change is None else change(numpy, arrays)
    converted = {name: as_array(numpy, name, value) for name, value in changed.items()}
    with temporary_file() as file:
        numpy.savez(file, **converted)
        yield Source(file, "arrays.npz", "npz")


def as_array(numpy: Any, name: str, value: Any) -> Any:
    """`value`, which may belong to another library, as a numpy array."""
    try:
        # A tensor of torch with a gradient, or on a GPU, is no array yet.
        array = numpy.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except Exception as error:  # rows of different lengths, a tensor of bfloat16, …
        remedy = ""
        if "inhomogeneous" in str(error):
            remedy = " put_dataset(…, pad=True) pads rows of different lengths."
        elif "ScalarType" in str(error):
            remedy = f" {name}.float() is a tensor of numbers that arrays have too."
        raise InvalidArgument(
            f"{name} cannot be converted to an array: {str(error).rstrip('.')}.{remedy}"
        ) from error
    if array.dtype.hasobject:
        raise InvalidArgument(
            f"{name} is a {type(value).__name__} that becomes an array of Python objects; expected "
            f"numbers, one row an example: numpy.unique({name}, return_inverse=True)[1] numbers "
            "names of classes."
        )
    return array
