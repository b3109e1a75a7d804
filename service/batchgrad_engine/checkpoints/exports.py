"""Make downloads from a checkpoint: the parameters alone, as safetensors or npz."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from batchgrad.contract import Kept, Model, Precision
from batchgrad_engine.checkpoints.checkpoints import KEY, BadCheckpoint, Snapshot, read
from batchgrad_engine.checkpoints.folding import fold
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.standardization import Standardization


class PrecisionTooSmall(Exception):
    """The precision that was asked for does not hold a parameter."""


def parameters_as_safetensors(
    path: Path,
    fold_into: Model | None = None,
    *,
    which: Kept = "last",
    precision: Precision | None = None,
) -> bytes:
    """The parameters alone, under PyTorch's names: loads into torch.nn.Sequential as it is.

    The metadata hold which they are, step, digest, the best ones' evaluation and, if inputs are
    standardized, mean and deviation; with `fold_into`, the run's model, they are in its first
    layer instead (CannotFold). `precision` is that of the file, else the run's own.
    """
    about, parameters, standardization = _chosen(path, fold_into, which, precision)
    if standardization:
        about["standardization"] = {
            "mean": standardization.mean.tolist(),
            "deviation": standardization.deviation.tolist(),
        }
    return save(parameters, {KEY: json.dumps(about)})


def parameters_as_npz(
    path: Path,
    fold_into: Model | None = None,
    *,
    which: Kept = "last",
    precision: Precision | None = None,
) -> bytes:
    """The parameters by name as .npz, with standardize.mean and standardize.deviation if used.

    The rest of what a safetensors file's metadata hold is in the archive's comment.
    """
    about, parameters, standardization = _chosen(path, fold_into, which, precision)
    arrays: dict[str, Any] = dict(parameters)
    if standardization:
        arrays["standardize.mean"] = standardization.mean
        arrays["standardize.deviation"] = standardization.deviation
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = json.dumps({KEY: about}).encode()
    return buffer.getvalue()


def _chosen(
    path: Path, fold_into: Model | None, which: Kept, precision: Precision | None
) -> tuple[dict[str, Any], dict[str, Array], Standardization | None]:
    """What a download says of its parameters, they, and the standardization if not folded in.

    Raises:
        CannotFold, PrecisionTooSmall, BadCheckpoint: they cannot be had so.
    """
    snapshot = read(path)
    about, parameters = _best_or_last(snapshot, which)
    standardization = snapshot.standardization
    with np.errstate(over="ignore"):
        if standardization and fold_into:
            layer, parameters = fold(fold_into, parameters, standardization, precision)
            about, standardization = {**about, "standardization_folded_into": layer}, None
        elif precision is not None:
            parameters = {name: array.astype(precision) for name, array in parameters.items()}
    for name, array in parameters.items():
        if not np.isfinite(array).all():
            raise PrecisionTooSmall(
                f"{name} has a number beyond {np.finfo(array.dtype).max:.3g}, the largest of "
                f"{array.dtype.name}: take precision=float64."
            )
    return about, parameters, standardization


def _best_or_last(snapshot: Snapshot, which: Kept) -> tuple[dict[str, Any], dict[str, Array]]:
    """The best or the last parameters, and what a download says of them.

    Raises:
        BadCheckpoint: the best were asked for, and it holds none.
    """
    if which == "last":
        last = {"step": snapshot.step, "parameters_digest": snapshot.parameters_digest}
        return {"which": which, **last}, snapshot.parameters
    if snapshot.best is None:
        raise BadCheckpoint(f"The checkpoint of step {snapshot.step} holds no best parameters.")
    return {"which": which, **snapshot.best.evaluation.model_dump()}, snapshot.best.parameters
