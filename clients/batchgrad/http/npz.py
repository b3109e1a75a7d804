"""Pack arrays into the npz of a dataset; needs numpy."""

import importlib
import io
from typing import Any

from batchgrad.errors import InvalidArgument, Unavailable


def npz_bytes(inputs: Any, targets: Any, weights: Any = None) -> bytes:
    """An npz of inputs (n, …), targets (n,) or (n, out), and weights (n,) if given.

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
    arrays = {"inputs": inputs, "targets": targets}
    if weights is not None:
        arrays["weights"] = weights
    file = io.BytesIO()
    numpy.savez(file, **{name: _array(numpy, name, value) for name, value in arrays.items()})
    return file.getvalue()


def _array(numpy: Any, name: str, value: Any) -> Any:
    """`value`, which may belong to another library, as a numpy array."""
    try:
        array = numpy.asarray(value)
    except Exception as error:  # rows of different lengths, a tensor on a GPU, …
        raise InvalidArgument(f"{name} cannot be converted to an array: {error}") from error
    if array.dtype.hasobject:
        raise InvalidArgument(
            f"{name} is a {type(value).__name__} that becomes an array of Python objects; expected "
            "numbers, one row an example."
        )
    return array
