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
from batchgrad_workers.data.standardization import Standardization


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

    The metadata hold `which`, step, digest, the best parameters' evaluation and, if inputs are
    standardized, mean and deviation; with `fold_into`, the run's model, the first layer absorbs
    these instead (CannotFold). `precision` is the file's, by default the run's.
    """
    metadata, parameters, standardization = _chosen(path, fold_into, which, precision)
    if standardization:
        metadata["standardization"] = {
            "mean": standardization.mean.tolist(),
            "deviation": standardization.deviation.tolist(),
        }
    return save(parameters, {METADATA_KEY: json.dumps(metadata)})


def parameters_as_npz(
    path: Path,
    fold_into: Model | None = None,
    *,
    which: Kept = "last",
    precision: Precision | None = None,
) -> bytes:
    """The parameters by name as .npz, with standardize.mean and standardize.deviation if used.

    The archive's comment holds the other metadata of the safetensors file.
    """
    metadata, parameters, standardization = _chosen(path, fold_into, which, precision)
    arrays: dict[str, Any] = dict(parameters)
    if standardization:
        arrays["standardize.mean"] = standardization.mean
        arrays["standardize.deviation"] = standardization.deviation
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = json.dumps({METADATA_KEY: metadata}).encode()
    return buffer.getvalue()


def _chosen(
    path: Path, fold_into: Model | None, which: Kept, precision: Precision | None
) -> tuple[dict[str, Any], dict[str, Array], Standardization | None]:
    """A download's metadata, its parameters, and the standardization unless it is folded in.

    Raises:
        CannotFold, PrecisionTooSmall, BadCheckpoint: the download is not possible.
    """
    snapshot = read(path)
    metadata, parameters = _best_or_last(snapshot, which)
    standardization = snapshot.standardization
    with np.errstate(over="ignore"):
        if standardization and fold_into:
            layer, parameters = fold(fold_into, parameters, standardization, precision)
            metadata, standardization = {**metadata, "standardization_folded_into": layer}, None
        elif precision is not None:
            parameters = {name: array.astype(precision) for name, array in parameters.items()}
    for name, array in parameters.items():
        if not np.isfinite(array).all():
            raise PrecisionTooSmall(
                f"{name} has a number beyond {np.finfo(array.dtype).max:.3g}, the largest of "
                f"{array.dtype.name}: use precision=float64."
            )
    return metadata, parameters, standardization


def _best_or_last(snapshot: Snapshot, which: Kept) -> tuple[dict[str, Any], dict[str, Array]]:
    """The best or the last parameters, and their metadata.

    Raises:
        BadCheckpoint: it holds no best parameters.
    """
    if which == "last":
        last = {"step": snapshot.step, "parameters_digest": snapshot.parameters_digest}
        return {"which": which, **last}, snapshot.parameters
    if snapshot.best is None:
        raise BadCheckpoint(f"The checkpoint of step {snapshot.step} holds no best parameters.")
    return {"which": which, **snapshot.best.evaluation.model_dump()}, snapshot.best.parameters
