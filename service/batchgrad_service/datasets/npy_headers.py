"""Read the .npy headers of untrusted uploads, and write .npy headers: shape and dtype."""

import io
from dataclasses import dataclass
from math import prod
from typing import IO

import numpy as np
import numpy.lib.format as npy

from batchgrad_service.problems import InvalidError

REMEDY = "numpy.savez(file, inputs=…, targets=…) makes what is expected"
MAX_HEADER_BYTES = 2**16
_MAX_AXES = 32
_MAX_AXIS = 2**63 - 1


@dataclass(frozen=True)
class Header:
    """The contents of a .npy header; the numbers begin at byte `offset_bytes` of the file."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool
    offset_bytes: int

    @property
    def array_bytes(self) -> int:
        """The number of bytes of the array's numbers."""
        return self.dtype.itemsize * prod(self.shape)


def read_header(name: str, start: bytes, *, booleans: bool = False) -> Header:
    """Read the header of array `name`, whose file begins with `start` (MAX_HEADER_BYTES of it).

    Raises:
        InvalidError: no header, a shape without numbers, or a dtype that is no number of 64 bits,
            nor boolean if `booleans` are taken.
    """
    file = io.BytesIO(start)  # never the stream itself: a header may claim gigabytes
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read(file)
    except Exception as error:  # numpy evaluates the text, and raises whatever it meets there
        raise InvalidError.field(
            f"/{name}", f"{name} has no readable .npy header ({error!s:.200}); {REMEDY}."
        ) from error
    _check_shape(name, shape)
    _check_dtype(name, dtype, "fiub" if booleans else "fiu")
    return Header(tuple(int(axis) for axis in shape), dtype, bool(fortran_order), file.tell())


def write_header(file: IO[bytes], dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
    """Write the header of a .npy file in C order."""
    description = npy.dtype_to_descr(dtype)
    npy.write_array_header_1_0(file, {"descr": description, "fortran_order": False, "shape": shape})


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) > _MAX_AXES:
        raise InvalidError.field(
            f"/{name}", f"{name} has {len(shape)} axes; expected at most {_MAX_AXES}."
        )
    if any(axis > _MAX_AXIS for axis in shape):
        raise InvalidError.field(
            f"/{name}", f"{name} has an axis of more than 2**63 rows; {REMEDY}."
        )
    if not shape or min(shape) < 1:
        raise InvalidError.field(
            f"/{name}", f"{name} has shape {list(shape)}; expected at least one row and one value."
        )


def _check_dtype(name: str, dtype: np.dtype[np.generic], kinds: str) -> None:
    numbers = dtype.kind in kinds and dtype.itemsize <= 8
    if not numbers or dtype.hasobject or dtype.subdtype is not None:
        kind = "Python objects (pickled)" if dtype.hasobject else str(dtype)
        raise InvalidError.field(
            f"/{name}",
            f"{name} holds {kind:.100}; expected floats or integers of at most 64 bits: "
            f"{_numbers(name, dtype)}.",
        )


def _numbers(name: str, dtype: np.dtype[np.generic]) -> str:
    """Return the numpy code that converts an array of another kind to numbers."""
    numbers = f"{name}.astype('float32')"
    if name == "targets" and dtype.kind == "b":
        return f"targets.astype('int64') for classes, {numbers} for numbers"
    if dtype.kind in "USO" and name == "targets":
        return (
            f"numpy.unique(targets, return_inverse=True)[1] numbers named classes, {numbers} reads "
            "numbers"
        )
    if dtype.kind in "USO":
        return f"{numbers} reads numbers; names must be replaced by numbers first"
    if dtype.kind == "M":
        return f"({name} - {name}.min()) / numpy.timedelta64(1, 's') makes seconds of times"
    if dtype.names is not None:
        columns = f"[{name}[field].astype('float32') for field in {name}.dtype.names]"
        return f"numpy.stack({columns}, -1) makes columns of its fields"
    return f"{numbers}, or integers for classes and ids"
