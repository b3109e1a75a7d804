"""Make downloads of a checkpoint's parameters, as safetensors or npz."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from batchgrad.contract import Kept, Model, Precision
from batchgrad_engine.checkpoints.checkpoints import METADATA_KEY, BadCheckpoint, Snapshot, read
from batchgrad_engine.checkpoints.folding import fold
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.input_transform import (
    InputTransform,
    standardization_of,
    unstandardized,
)
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.data.tables.encoding import TableEncoding


class PrecisionTooSmall(Exception):
    """A parameter overflows the requested precision."""


def parameters_as_safetensors(
    path: Path,
    fold_into: Model | None = None,
    *,
    which: Kept = "last",
    precision: Precision | None = None,
) -> bytes:
    """The parameters under PyTorch's names: torch.nn.Sequential can load the file.

    The metadata are the model card (docs/reference/model-card.md). If inputs are standardized, it
    holds mean and deviation, or a table's encoding; with `fold_into`, the run's model, the
    first layer absorbs mean and deviation instead (CannotFold). `precision` is the file's, by
    default the run's.
    """
    metadata, parameters, transform = _chosen(path, fold_into, which, precision)
    match transform:
        case Standardization() as known:
            metadata["standardization"] = {
                "mean": known.mean.tolist(),
                "deviation": known.deviation.tolist(),
            }
        case TableEncoding() as known:
            metadata["encoding"] = known.encoding.model_dump()
    return save(parameters, {METADATA_KEY: json.dumps(metadata)})


def parameters_as_npz(
    path: Path,
    fold_into: Model | None = None,
    *,
    which: Kept = "last",
    precision: Precision | None = None,
) -> bytes:
    """The parameters by name as .npz.

    With standardize.mean and standardize.deviation if used,
    or encoding.json, bytes of UTF-8, for a table.

    The archive's comment holds the other metadata of the safetensors file; if that is too long for
    a comment, the array card.json does, as bytes of UTF-8.
    """
    metadata, parameters, transform = _chosen(path, fold_into, which, precision)
    arrays: dict[str, Any] = dict(parameters)
    match transform:
        case Standardization() as known:
            arrays["standardize.mean"] = known.mean
            arrays["standardize.deviation"] = known.deviation
        case TableEncoding() as known:
            text = known.encoding.model_dump_json().encode()
            arrays["encoding.json"] = np.frombuffer(text, np.uint8)
    comment = json.dumps({METADATA_KEY: metadata}).encode()
    if len(comment) > zipfile.ZIP_MAX_COMMENT:
        arrays["card.json"], comment = np.frombuffer(comment, np.uint8), b""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = comment
    return buffer.getvalue()


def _chosen(
    path: Path, fold_into: Model | None, which: Kept, precision: Precision | None
) -> tuple[dict[str, Any], dict[str, Array], InputTransform | None]:
    """A download's metadata, its parameters, and the inputs' transform as far as not folded in.

    Raises:
        CannotFold, PrecisionTooSmall, BadCheckpoint: the download is not possible.
    """
    snapshot = read(path)
    metadata, parameters = _best_or_last(snapshot, which)
    transform = snapshot.transform
    with np.errstate(over="ignore"):
        if transform and standardization_of(transform) and fold_into:
            layer, parameters = fold(fold_into, parameters, transform, precision)
            metadata = {**metadata, "standardization_folded_into": layer}
            transform = unstandardized(transform)
        elif precision is not None:
            parameters = {name: array.astype(precision) for name, array in parameters.items()}
    for name, array in parameters.items():
        if not np.isfinite(array).all():
            raise PrecisionTooSmall(
                f"{name} has a number beyond {np.finfo(array.dtype).max:.3g}, the largest of "
                f"{array.dtype.name}: use precision=float64."
            )
    return metadata, parameters, transform


def _best_or_last(snapshot: Snapshot, which: Kept) -> tuple[dict[str, Any], dict[str, Array]]:
    """The best or the last parameters, and their metadata.

    Raises:
        BadCheckpoint: it holds no best parameters.
    """
    training = {"training": snapshot.training.model_dump()} if snapshot.training else {}
    if which == "last":
        last = {"step": snapshot.step, "parameters_digest": snapshot.parameters_digest}
        return {"which": which, **last, **training}, snapshot.parameters
    if snapshot.best is None:
        raise BadCheckpoint(f"The checkpoint of step {snapshot.step} holds no best parameters.")
    best = snapshot.best.evaluation.model_dump()
    return {"which": which, **best, **training}, snapshot.best.parameters
