"""Arrays of numpy, tensors of torch and whatever numpy can convert, as an npz."""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from batchgrad.data.source import Source, temporary_file
from batchgrad.errors import InvalidArgument, Unavailable


@contextmanager
def from_arrays(arrays: Mapping[str, Any]) -> Iterator[Source]:
    """Arrays by name: inputs (n, …), targets (n,) or (n, out), and weights (n,) if given.

    The client does not depend on numpy; a user with arrays has it.

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
    converted = {name: _array(numpy, name, value) for name, value in arrays.items()}
    with temporary_file() as file:
        numpy.savez(file, **converted)
        yield Source(file, "arrays.npz", "npz")


def _array(numpy: Any, name: str, value: Any) -> Any:
    """`value`, which may belong to another library, as a numpy array."""
    try:
        # A tensor of torch with a gradient, or on a GPU, is no array yet.
        array = numpy.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except Exception as error:  # rows of different lengths, a tensor of bfloat16, …
        raise InvalidArgument(f"{name} cannot be converted to an array: {error}") from error
    if array.dtype.hasobject:
        raise InvalidArgument(
            f"{name} is a {type(value).__name__} that becomes an array of Python objects; expected "
            "numbers, one row an example."
        )
    return array
