"""Checkpoints: one safetensors file a checkpoint, complete or not there at all.

Tensors are named parameters/NAME, best/NAME, optimizer/NAME, standardization/NAME and ledger/NAME;
best/ are the parameters at the best evaluation, unless they are this step's own. The metadata
hold one JSON object with the step, the digests and what decides the bits of a run. A file is
written beside its place, synced, and renamed. A torn or changed file is found by its digest and
skipped.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from batchgrad.contract import BestEvaluation
from batchgrad_engine.checkpoints.example_ledger import Columns
from batchgrad_engine.messages import Checkpointed
from batchgrad_engine.training.best import Best
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.digests import digest
from batchgrad_workers.system.durability import sync
from batchgrad_workers.system.files import is_temporary

KEY = "batchgrad"
FORMAT = 1
_TEMPORARY = re.compile(r"(?:step-\d{10,}|ledger)\.\d+\.tmp|\.tmp\w{6}")
"""Ours, and safetensors' own, which renames it to ours."""


class BadCheckpoint(Exception):
    """A checkpoint file is torn, changed, or of a format that this version can't read."""


class GoneCheckpoint(BadCheckpoint):
    """There is no such file."""


@dataclass(frozen=True)
class Snapshot:
    """A state to go on from: `step` steps are done.

    `ledger` is the example ledger's columns. `progress` is what else the run must remember, by
    who remembers it: values that JSON can hold. `best` is the best evaluation so far with its
    parameters, of a job that keeps them.
    """

    step: int
    parameters: dict[str, Array]
    optimizer: dict[str, Array]
    standardization: Standardization | None
    parameters_digest: str
    build: dict[str, str]
    ledger: Columns = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    best: Best | None = None

    @property
    def kept_digest(self) -> str:
        """Of the parameters that the job keeps: the best ones, or those after `step` steps."""
        return self.best.evaluation.parameters_digest if self.best else self.parameters_digest


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
        "best": snapshot.best.evaluation.model_dump() if snapshot.best else None,
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
    except FileNotFoundError as error:
        raise GoneCheckpoint(f"{path.name} is not there.") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCheckpoint(f"{path.name} can't be read: {error}") from error
    try:
        return _snapshot(path, about, tensors)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadCheckpoint(f"{path.name} does not say what it holds: {error!r}") from error


def _snapshot(path: Path, about: Mapping[str, Any], tensors: dict[str, Any]) -> Snapshot:
    if about.get("format") != FORMAT:
        raise BadCheckpoint(f"{path.name} has format {about.get('format')}, expected {FORMAT}.")
    if digest(tensors) != about["tensors_digest"]:
        raise BadCheckpoint(f"{path.name} does not hold what was written into it.")
    standardization = None
    if "standardization/mean" in tensors:
        standardization = Standardization(
            tensors["standardization/mean"], tensors["standardization/deviation"]
        )
    parameters = {name: tensors[f"parameters/{name}"] for name in about["parameters"]}
    return Snapshot(
        step=about["step"],
        parameters=parameters,
        optimizer=_group(tensors, "optimizer/"),
        standardization=standardization,
        parameters_digest=about["parameters_digest"],
        build=about["build"],
        ledger=_group(tensors, "ledger/"),
        progress=about.get("progress", {}),
        best=_best(about, parameters, tensors),
    )


def _best(
    about: Mapping[str, Any], parameters: dict[str, Array], tensors: Mapping[str, Array]
) -> Best | None:
    if about.get("best") is None:
        return None
    evaluation = BestEvaluation.model_validate(about["best"])
    if evaluation.step == about["step"]:
        return Best(evaluation, parameters)
    return Best(evaluation, {name: tensors[f"best/{name}"] for name in about["parameters"]})


def is_unfinished(name: str) -> bool:
    """Whether a file of this name in a job's directory was not written to its end."""
    return _TEMPORARY.fullmatch(name) is not None or is_temporary(name)


def sweep(directory: Path) -> None:
    """Remove what a killed engine had not finished to write; for the holder of the job's lock."""
    for torn in directory.iterdir():
        if is_unfinished(torn.name):
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


def newer(directory: Path, than: int) -> Iterator[Checkpointed]:
    """The whole checkpoints of later steps, as their engine would have told of them."""
    for path in sorted(directory.glob("step-*.safetensors")):
        digits = path.stem.removeprefix("step-")
        if not digits.isdigit() or int(digits) <= than:
            continue
        try:
            snapshot = read(path)
        except BadCheckpoint:
            continue  # the next attempt says so, and goes on from an older one
        with path.open("rb") as file:
            file_digest = hashlib.file_digest(file, "sha256").hexdigest()
            about = os.fstat(file.fileno())
        yield Checkpointed(
            step=snapshot.step,
            time=datetime.fromtimestamp(about.st_mtime, UTC),
            file=path.name,
            bytes=about.st_size,
            digest=f"sha256:{file_digest}",
            parameters_digest=snapshot.parameters_digest,
            best=snapshot.best.evaluation if snapshot.best else None,
        )


def _group(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _tensors(snapshot: Snapshot) -> Iterator[tuple[str, Array]]:
    for name, array in snapshot.parameters.items():
        yield f"parameters/{name}", array
    if snapshot.best and snapshot.best.evaluation.step != snapshot.step:
        for name, array in snapshot.best.parameters.items():
            yield f"best/{name}", array
    for name, array in snapshot.optimizer.items():
        yield f"optimizer/{name}", array
    if snapshot.standardization:
        yield "standardization/mean", snapshot.standardization.mean
        yield "standardization/deviation", snapshot.standardization.deviation
    for name, column in snapshot.ledger.items():
        yield f"ledger/{name}", column
