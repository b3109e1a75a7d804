"""Make downloads from a checkpoint: the parameters alone, as safetensors or npz."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from batchgrad.contract import Kept, Model
from batchgrad_service.engine.checkpoints import KEY, BadCheckpoint, Snapshot, read
from batchgrad_service.engine.folding import fold
from batchgrad_workers.arrays import Array


def parameters_as_safetensors(
    path: Path, fold_into: Model | None = None, *, which: Kept = "last"
) -> bytes:
    """The parameters alone, under PyTorch's names: loads into torch.nn.Sequential as it is.

    The metadata hold which they are, step, digest, the best ones' evaluation and, if inputs are
    standardized, mean and deviation; with `fold_into`, the run's model, they are in its first
    layer instead (CannotFold).
    """
    snapshot = read(path)
    about, parameters = _chosen(snapshot, which)
    if snapshot.standardization and fold_into:
        folded, parameters = fold(fold_into, parameters, snapshot.standardization)
        about["standardization_folded_into"] = folded
    elif snapshot.standardization:
        about["standardization"] = {
            "mean": snapshot.standardization.mean.tolist(),
            "deviation": snapshot.standardization.deviation.tolist(),
        }
    return save(parameters, {KEY: json.dumps(about)})


def parameters_as_npz(path: Path, fold_into: Model | None = None, *, which: Kept = "last") -> bytes:
    """The parameters by name as .npz, with standardize.mean and standardize.deviation if used.

    With `fold_into`, the run's model, they are in its first layer instead (CannotFold).
    """
    snapshot = read(path)
    _, parameters = _chosen(snapshot, which)
    arrays: dict[str, Any] = dict(parameters)
    if snapshot.standardization and fold_into:
        arrays = dict(fold(fold_into, parameters, snapshot.standardization)[1])
    elif snapshot.standardization:
        arrays["standardize.mean"] = snapshot.standardization.mean
        arrays["standardize.deviation"] = snapshot.standardization.deviation
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _chosen(snapshot: Snapshot, which: Kept) -> tuple[dict[str, Any], dict[str, Array]]:
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
