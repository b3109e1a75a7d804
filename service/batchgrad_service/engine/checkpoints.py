"""Checkpoints: one safetensors file a checkpoint, complete or not there at all.

Tensors are named parameters/NAME, optimizer/NAME, standardization/NAME and ledger/NAME; the
metadata hold one JSON object with the step, the digests and what decides the bits of a run. A
file is written beside its place, synced, and renamed. A torn or changed file is found by its
digest and skipped.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save, save_file

from batchgrad.contract import Model
from batchgrad_service.engine.folding import fold
from batchgrad_service.engine.ledger import Columns
from batchgrad_workers.arrays import Array
from batchgrad_workers.dataset import Standardization
from batchgrad_workers.digests import digest
from batchgrad_workers.disk import sync

KEY = "batchgrad"
FORMAT = 1
_TEMPORARY = re.compile(r"(?:step-\d{10,}|ledger)\.\d+\.tmp")


class BadCheckpoint(Exception):
    """A checkpoint file is torn, changed, or of a format that this version can't read."""


@dataclass(frozen=True)
class Snapshot:
    """A state to go on from: `step` steps are done.

    `ledger` is the example ledger's columns. `progress` is what else the run must remember, by
    who remembers it: values that JSON can hold.
    """

    step: int
    parameters: dict[str, Array]
    optimizer: dict[str, Array]
    standardization: Standardization | None
    parameters_digest: str
    build: dict[str, str]
    ledger: Columns = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """A checkpoint on disk; `digest` is of the whole file."""

    path: Path
    bytes: int
    digest: str


def write(directory: Path, snapshot: Snapshot) -> Written:
    """Write step-N.safetensors into `directory`; when this returns, it survives a power cut."""
    path = directory / f"step-{snapshot.step:010d}.safetensors"
    tensors = dict(sorted(_tensors(snapshot), key=lambda named: named[0]))
    about = {
        "format": FORMAT,
        "step": snapshot.step,
        "parameters_digest": snapshot.parameters_digest,
        "tensors_digest": digest(tensors),
        "parameters": list(snapshot.parameters),
        "build": snapshot.build,
        "progress": snapshot.progress,
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, {KEY: json.dumps(about)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
            file_digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = temporary.stat().st_size
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(directory)
    return Written(path, size, f"sha256:{file_digest}")


def read(path: Path) -> Snapshot:
    """The snapshot in a file.

    Raises:
        BadCheckpoint: it is not whole, or not what was written.
    """
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCheckpoint(f"{path.name} can't be read: {error}") from error
    if about.get("format") != FORMAT:
        raise BadCheckpoint(f"{path.name} has format {about.get('format')}, expected {FORMAT}.")
    if digest(tensors) != about["tensors_digest"]:
        raise BadCheckpoint(f"{path.name} does not hold what was written into it.")
    standardization = None
    if "standardization/mean" in tensors:
        standardization = Standardization(
            tensors["standardization/mean"], tensors["standardization/deviation"]
        )
    return Snapshot(
        step=about["step"],
        parameters={name: tensors[f"parameters/{name}"] for name in about["parameters"]},
        optimizer=_group(tensors, "optimizer/"),
        standardization=standardization,
        parameters_digest=about["parameters_digest"],
        build=about["build"],
        ledger=_group(tensors, "ledger/"),
        progress=about.get("progress", {}),
    )


def sweep(directory: Path) -> None:
    """Remove what a killed engine had not finished to write; for the holder of the job's lock."""
    for torn in directory.glob("*.tmp"):
        if _TEMPORARY.fullmatch(torn.name):
            torn.unlink()


def newest(directory: Path) -> tuple[Snapshot | None, list[str]]:
    """The newest snapshot in `directory` that is whole, and what was wrong with newer ones."""
    complaints: list[str] = []
    for path in sorted(directory.glob("step-*.safetensors"), reverse=True):
        try:
            return read(path), complaints
        except BadCheckpoint as bad:
            complaints.append(str(bad))
    return None, complaints


def parameters_as_safetensors(path: Path, fold_into: Model | None = None) -> bytes:
    """The parameters alone, under PyTorch's names: loads into torch.nn.Sequential as it is.

    The metadata hold the step, the digest and, if inputs are standardized, mean and deviation;
    with `fold_into`, the run's model, they are in its first layer instead (CannotFold).
    """
    snapshot = read(path)
    about: dict[str, Any] = {
        "step": snapshot.step,
        "parameters_digest": snapshot.parameters_digest,
    }
    parameters = snapshot.parameters
    if snapshot.standardization and fold_into:
        folded, parameters = fold(fold_into, parameters, snapshot.standardization)
        about["standardization_folded_into"] = folded
    elif snapshot.standardization:
        about["standardization"] = {
            "mean": snapshot.standardization.mean.tolist(),
            "deviation": snapshot.standardization.deviation.tolist(),
        }
    return save(parameters, {KEY: json.dumps(about)})


def parameters_as_npz(path: Path, fold_into: Model | None = None) -> bytes:
    """The parameters by name as .npz, with standardize.mean and standardize.deviation if used.

    With `fold_into`, the run's model, they are in its first layer instead (CannotFold).
    """
    snapshot = read(path)
    arrays: dict[str, Any] = dict(snapshot.parameters)
    if snapshot.standardization and fold_into:
        arrays = dict(fold(fold_into, snapshot.parameters, snapshot.standardization)[1])
    elif snapshot.standardization:
        arrays["standardize.mean"] = snapshot.standardization.mean
        arrays["standardize.deviation"] = snapshot.standardization.deviation
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _group(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _tensors(snapshot: Snapshot) -> Iterator[tuple[str, Array]]:
    for name, array in snapshot.parameters.items():
        yield f"parameters/{name}", array
    for name, array in snapshot.optimizer.items():
        yield f"optimizer/{name}", array
    if snapshot.standardization:
        yield "standardization/mean", snapshot.standardization.mean
        yield "standardization/deviation", snapshot.standardization.deviation
    for name, column in snapshot.ledger.items():
        yield f"ledger/{name}", column
