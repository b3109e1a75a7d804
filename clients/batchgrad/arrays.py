"""Arrays to a dataset's npz, where numpy is installed."""

import importlib
import io
from typing import Any

from batchgrad.errors import Unavailable


def npz_bytes(inputs: Any, targets: Any, weights: Any = None) -> bytes:
    """An npz of inputs (n, …), targets (n,) or (n, out), and weights (n,) if given.

    numpy is imported by name: the client itself does not depend on it, and whoever holds arrays
    has it already.
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
    numpy.savez(file, **arrays)
    return file.getvalue()
