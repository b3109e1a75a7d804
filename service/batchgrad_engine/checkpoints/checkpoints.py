"""The checkpoint file: a run's state after a step, in safetensors format, written atomically.

Tensors are named parameters/NAME, best/NAME, optimizer/NAME, standardization/NAME and ledger/NAME;
best/ are the parameters at the best evaluation, unless they are this step's own. `encoding` holds
the JSON of a table's encoding, as bytes. The metadata hold one JSON object with the step, the
digests and the builds that determine the run's bits. A file is written under a temporary name,
synced, and renamed. Its digest reveals a torn or changed file.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from batchgrad.contract import BestEvaluation, Encoding
from batchgrad.downloads.card import TrainedOn
from batchgrad_engine.checkpoints.example_ledger import LedgerColumns
from batchgrad_engine.training.best import Best
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.input_transform import InputTransform
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.digests import digest
from batchgrad_workers.system.durability import sync

METADATA_KEY = "batchgrad"
"""Key of batchgrad's JSON object in safetensors' metadata."""

FORMAT = 1


class BadCheckpoint(Exception):
    """A checkpoint file is torn, changed, or of a format that this version can't read."""


class GoneCheckpoint(BadCheckpoint):
    """The checkpoint file does not exist."""


@dataclass(frozen=True)
class Snapshot:
    """The state after `step` steps, from which a run can resume.

    `transform` is that of the inputs. `ledger` holds the example ledger's columns. `progress` is
    other state of the run, as JSON values, by the part of the run that needs it. `best` is the best
    evaluation so far with its parameters, if the job keeps them. `training` is for the model card.
    `module` says how a PyTorch module's sums are computed.
    """

    step: int
    parameters: dict[str, Array]
    optimizer: dict[str, Array]
    transform: InputTransform | None
    parameters_digest: str
    build_info: dict[str, str]
    ledger: LedgerColumns = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    best: Best | None = None
    training: TrainedOn | None = None
    module: dict[str, Any] | None = None

    @property
    def kept_digest(self) -> str:
        """Digest of the parameters that the job keeps: the best ones, or those of this step."""
        return self.best.evaluation.parameters_digest if self.best else self.parameters_digest


@dataclass(frozen=True)
class Written:
    """A checkpoint file; `digest` is the digest of the whole file."""

    path: Path
    bytes: int
    digest: str


_DTYPES = {"F64": np.dtype("<f8"), "I64": np.dtype("<i8")}
"""Of the ledger's columns, by their names in safetensors."""


def write(directory: Path, snapshot: Snapshot) -> Written:
    """Write step-N.safetensors to `directory`; when this returns, it survives a power cut."""
    path = directory / f"step-{snapshot.step:010d}.safetensors"
    tensors = dict(sorted(_tensors(snapshot), key=lambda named: named[0]))
    metadata = {
        "format": FORMAT,
        "step": snapshot.step,
        "parameters_digest": snapshot.parameters_digest,
        "tensors_digest": digest(tensors),
        "parameters": list(snapshot.parameters),
        "build": snapshot.build_info,
        "progress": snapshot.progress,
        "training": snapshot.training.model_dump() if snapshot.training else None,
        "best": snapshot.best.evaluation.model_dump() if snapshot.best else None,
        "module": snapshot.module,
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, {METADATA_KEY: json.dumps(metadata)})
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
    """Read the snapshot in a file; its ledger, 40 bytes for each example, is mapped, not read.

    Raises:
        GoneCheckpoint: the file does not exist.
        BadCheckpoint: the file is incomplete, or not what was written.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            mapped = _mapped(path, "ledger/")
            tensors = {
                name: mapped[name] if name in mapped else file.get_tensor(name)
                for name in sorted(file.keys())
            }
    except FileNotFoundError as error:
        raise GoneCheckpoint(f"{path.name} does not exist.") from error
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"{path.name} can't be read: {error}") from error
    try:
        return _snapshot(path, metadata, tensors)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadCheckpoint(f"{path.name} has invalid metadata: {error!r}") from error


def _mapped(path: Path, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Map the tensors of a valid safetensors file whose names begin with `prefix`."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        return {
            name: np.asarray(
                np.memmap(
                    file,
                    _DTYPES[tensor["dtype"]],
                    "r",
                    8 + length + tensor["data_offsets"][0],
                    tuple(tensor["shape"]),
                )
            )
            for name, tensor in header.items()
            if name.startswith(prefix) and 0 not in tensor["shape"]
        }


def _snapshot(path: Path, metadata: Mapping[str, Any], tensors: dict[str, Any]) -> Snapshot:
    if metadata.get("format") != FORMAT:
        raise BadCheckpoint(f"{path.name} has format {metadata.get('format')}, expected {FORMAT}.")
    if digest(tensors) != metadata["tensors_digest"]:
        raise BadCheckpoint(f"{path.name} has changed since it was written.")
    parameters = {name: tensors[f"parameters/{name}"] for name in metadata["parameters"]}
    return Snapshot(
        step=metadata["step"],
        parameters=parameters,
        optimizer=_group(tensors, "optimizer/"),
        transform=_transform(tensors),
        parameters_digest=metadata["parameters_digest"],
        build_info=metadata["build"],
        ledger=_group(tensors, "ledger/"),
        progress=metadata.get("progress", {}),
        best=_best(metadata, parameters, tensors),
        training=TrainedOn.model_validate(metadata["training"])
        if metadata.get("training")
        else None,
        module=metadata.get("module"),
    )


def _transform(tensors: Mapping[str, Any]) -> InputTransform | None:
    if "standardization/mean" in tensors:
        return Standardization(
            tensors["standardization/mean"], tensors["standardization/deviation"]
        )
    if "encoding" in tensors:
        encoding = Encoding.model_validate_json(tensors["encoding"].tobytes())
        return TableEncoding.of(encoding)
    return None


def _best(
    metadata: Mapping[str, Any], parameters: dict[str, Array], tensors: Mapping[str, Array]
) -> Best | None:
    if metadata.get("best") is None:
        return None
    evaluation = BestEvaluation.model_validate(metadata["best"])
    if evaluation.step == metadata["step"]:
        return Best(evaluation, parameters)
    return Best(evaluation, {name: tensors[f"best/{name}"] for name in metadata["parameters"]})


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
    match snapshot.transform:
        case Standardization() as known:
            yield "standardization/mean", known.mean
            yield "standardization/deviation", known.deviation
        case TableEncoding() as known:
            yield "encoding", np.frombuffer(known.encoding.model_dump_json().encode(), np.uint8)
    for name, column in snapshot.ledger.items():
        yield f"ledger/{name}", column
