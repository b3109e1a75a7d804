"""The checkpoints in a job's directory: the newest, the later ones, and unfinished files."""

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from batchgrad_engine.checkpoints.checkpoints import BadCheckpoint, Snapshot, read
from batchgrad_engine.messages import Checkpointed
from batchgrad_workers.system.files import is_temporary

_TEMPORARY = re.compile(r"(?:step-\d{10,}|ledger)\.\d+\.tmp|\.tmp\w{6}")
"""Our temporary files, and safetensors' own, which it renames to ours."""


def is_unfinished(name: str) -> bool:
    """True if a file of this name in a job's directory was not completely written."""
    return _TEMPORARY.fullmatch(name) is not None or is_temporary(name)


def remove_unfinished(directory: Path) -> None:
    """Remove files that a killed engine did not finish; the caller must hold the job's lock."""
    for file in directory.iterdir():
        if is_unfinished(file.name):
            file.unlink()


def newest(directory: Path) -> tuple[Snapshot | None, list[str]]:
    """The newest valid snapshot in `directory`, and an error message for each newer file."""
    errors: list[str] = []
    for path in sorted(directory.glob("step-*.safetensors"), reverse=True):
        try:
            return read(path), errors
        except BadCheckpoint as bad:
            errors.append(str(bad))
    return None, errors


def checkpoints_after(directory: Path, step: int) -> Iterator[Checkpointed]:
    """The valid checkpoints of steps after `step`, as the messages that their engine sends."""
    for path in sorted(directory.glob("step-*.safetensors")):
        digits = path.stem.removeprefix("step-")
        if not digits.isdigit() or int(digits) <= step:
            continue
        try:
            snapshot = read(path)
        except BadCheckpoint:
            continue  # the next attempt warns of it, and resumes from an older one
        with path.open("rb") as file:
            file_digest = hashlib.file_digest(file, "sha256").hexdigest()
            stat = os.fstat(file.fileno())
        yield Checkpointed(
            step=snapshot.step,
            time=datetime.fromtimestamp(stat.st_mtime, UTC),
            file=path.name,
            bytes=stat.st_size,
            digest=f"sha256:{file_digest}",
            parameters_digest=snapshot.parameters_digest,
            best=snapshot.best.evaluation if snapshot.best else None,
        )
