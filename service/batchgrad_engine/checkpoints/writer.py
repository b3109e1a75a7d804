"""Write a run's checkpoints, each step's at most once, and report them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from batchgrad_engine.checkpoints import checkpoints
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.messages import Checkpointed


class CheckpointWriter:
    """Writes snapshots into a job's directory."""

    def __init__(
        self, directory: Path, interval_seconds: float, send: Callable[[Checkpointed], None]
    ) -> None:
        self._directory = directory
        self._interval_seconds = interval_seconds
        self._send = send
        # An earlier attempt's checkpoint is written again: the service may not know of it.
        self._step = -1
        self._written_at = monotonic()

    @property
    def due(self) -> bool:
        """True if the last checkpoint, or the start, is at least the interval ago."""
        return monotonic() - self._written_at >= self._interval_seconds

    def write(self, snapshot: Snapshot) -> bool:
        """Write and report `snapshot`; False if this step's checkpoint is already written."""
        if snapshot.step == self._step:
            return False
        written = checkpoints.write(self._directory, snapshot)
        self._step, self._written_at = snapshot.step, monotonic()
        self._send(
            Checkpointed(
                step=snapshot.step,
                time=datetime.now(UTC),
                file=written.path.name,
                bytes=written.bytes,
                digest=written.digest,
                parameters_digest=snapshot.parameters_digest,
                best=snapshot.best.evaluation if snapshot.best else None,
            )
        )
        return True
