"""Convert parameters from an npz that `download` wrote to safetensors."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from batchgrad_engine.checkpoints.checkpoints import METADATA_KEY
from batchgrad_service.datasets.careful_zip import CarefulBytes
from batchgrad_service.datasets.npy_headers import REMEDY, read_header
from batchgrad_service.datasets.npz import members, opened, pieces
from batchgrad_service.problems import InvalidError

_STANDARDIZE = "standardize."
_ENCODING = "encoding.json"
_CARD = "card.json"


def as_safetensors(pointer: str, content: bytes, *, max_bytes: int) -> bytes:
    """Return the parameters and metadata of an npz as a safetensors file.

    Raises:
        InvalidError: no npz, arrays that are no numbers, or more than `max_bytes` of them.
    """
    try:
        arrays, comment = _read(content, max_bytes)
    except InvalidError as bad:
        detail = bad.errors[0].detail.removesuffix(f"; {REMEDY}.").removesuffix(".")
        raise InvalidError.field(
            pointer, f"{detail}: batchgrad download --format npz makes one."
        ) from bad
    if _CARD in arrays:
        comment = arrays.pop(_CARD).tobytes()
    about = _about(comment)
    if _ENCODING in arrays:
        about["encoding"] = _json(arrays.pop(_ENCODING).tobytes())
    known = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_STANDARDIZE)}
    if known.keys() == {"standardize.mean", "standardize.deviation"}:
        about["standardization"] = {
            name.removeprefix(_STANDARDIZE): array.tolist() for name, array in known.items()
        }
    elif known:
        raise InvalidError.field(
            pointer,
            f"The npz holds {sorted(known)}: standardize.mean and standardize.deviation belong "
            "together.",
        )
    return save(arrays, {METADATA_KEY: json.dumps(about)} if about else None)


def _read(content: bytes, max_bytes: int) -> tuple[dict[str, npt.NDArray[Any]], bytes]:
    arrays = {}
    with opened(CarefulBytes(content)) as archive:
        found = members(archive, lambda _: None)
        total = sum(info.file_size for info in found.values())
        if total > max_bytes:
            raise InvalidError.field(
                "",
                f"The npz unpacks to {total} bytes, parameters of this model take at most "
                f"{max_bytes}.",
            )
        for name, info in found.items():
            plain = b"".join(pieces(archive, info))
            header = read_header(name, plain)
            if header.offset_bytes + header.array_bytes != len(plain):
                raise InvalidError.field(
                    "", f"{name} has {len(plain)} bytes, its header says otherwise."
                )
            array = np.frombuffer(plain, header.dtype, offset=header.offset_bytes)
            shaped = array.reshape(header.shape, order="F" if header.fortran_order else "C")
            arrays[name] = np.ascontiguousarray(shaped, header.dtype.newbyteorder("<"))
        return arrays, archive.comment


def _json(text: bytes) -> Any:
    """The value of a JSON text; None, which is no encoding, if it can't be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _about(comment: bytes) -> dict[str, Any]:
    """Return the metadata in the archive's comment; {} if batchgrad did not write it."""
    try:
        about = json.loads(comment)[METADATA_KEY]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
