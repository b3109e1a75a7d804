"""Recognise the kind of data that a user gave, and open the file to send for it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from typing import Any

from batchgrad.data.arrays import are_arrays, from_arrays
from batchgrad.data.bunches import from_bunch
from batchgrad.data.frames import from_arrow, from_hugging_face, from_pandas, from_polars
from batchgrad.data.padding import Pad, padded
from batchgrad.data.paths import ARRAYS, from_npy_files, from_path
from batchgrad.data.source import Source
from batchgrad.errors import InvalidArgument
from batchgrad.parsing import arguments

ADAPTERS: Mapping[str, Callable[[Any], AbstractContextManager[Source]]] = {
    "pandas": from_pandas,
    "polars": from_polars,
    "pyarrow": from_arrow,
    "sklearn": from_bunch,
    "datasets": from_hugging_face,
}
"""By the package that defines the type of the data."""

_ARRAYS = frozenset({"numpy", "torch"})
_KINDS = (
    "a path, the bytes of an npz, arrays (inputs, targets) or {name: array}, or a data frame of "
    "pandas or polars, an Arrow table, a scikit-learn bunch or a Hugging Face dataset"
)


def open_source(data: Any) -> AbstractContextManager[Source]:
    """The file to send for `data`; leave the block to remove what was made for it.

    Raises:
        InvalidArgument: nothing is known that makes a file of it.
        FileFailed: a file cannot be read.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return _from_bytes(bytes(data))
    packages = _packages(data)
    for package, adapter in ADAPTERS.items():
        if package in packages:
            return adapter(data)
    if isinstance(data, str | os.PathLike):
        return from_path(arguments.path("data", data))
    if hasattr(data, "read"):
        raise InvalidArgument(
            f"data is an open {type(data).__name__}; expected a path, or the bytes: data.read()."
        )
    if isinstance(data, Mapping) and data and (set(data) <= set(ARRAYS) or are_arrays(data)):
        return from_arrays(data)
    data = getattr(data, "tensors", data)  # of torch's TensorDataset
    if isinstance(data, tuple | list) and len(data) in {2, 3}:
        if all(isinstance(one, str | os.PathLike) for one in data):
            return from_npy_files([arguments.path("data", one) for one in data])
        return from_arrays(dict(zip(ARRAYS, data, strict=False)))
    hint = _hint(data, packages)
    kind = "None" if data is None else f"a {type(data).__name__}"
    raise InvalidArgument(f"data is {kind}; expected {_KINDS}{hint}.")


def open_padded(data: Any, pad: Pad) -> AbstractContextManager[Source]:
    """The file to send for arrays by name, of which those with rows of many lengths are padded.

    Raises:
        InvalidArgument: `data` are no arrays by name, or cannot be padded so.
    """
    if not isinstance(pad, bool | Mapping):
        raise InvalidArgument(
            f"pad is {pad!r:.100}; expected True, or a value for each array that pads with "
            "another than 0: pad={'input_ids': tokenizer.pad_token_id}."
        )
    if not isinstance(data, Mapping):
        raise InvalidArgument(
            f"pad is for arrays by name, and data is a {type(data).__name__}: give a mapping, as "
            "in {'input_ids': rows, 'labels': rows}."
        )
    return from_arrays(data, lambda numpy, arrays: padded(numpy, arrays, pad))


def _hint(data: Any, packages: set[str]) -> str:
    if packages & _ARRAYS:
        return ": give inputs and targets, (inputs, targets)"
    if isinstance(data, Mapping | list):
        return ": pandas.DataFrame(data) makes one of rows or columns"
    return ""


def _packages(data: Any) -> set[str]:
    """The packages that define the type of `data`, or one that it extends."""
    return {kind.__module__.partition(".")[0] for kind in type(data).__mro__}


@contextmanager
def _from_bytes(content: bytes) -> Iterator[Source]:
    yield Source(BytesIO(content), "data.npz")
