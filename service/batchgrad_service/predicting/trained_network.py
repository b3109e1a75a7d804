"""A job's network with its trained parameters."""

import os
from dataclasses import dataclass, replace

import numpy as np

from batchgrad.contract import LOSSES, JobSpec, LossKind, Table
from batchgrad.downloads.card import TrainedOn
from batchgrad_engine.checkpoints import checkpoints
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_service.datasets.downloads import Download, newest_whole
from batchgrad_service.predicting.tasks import TrainedTask
from batchgrad_service.problems import ConflictError, InvalidError
from batchgrad_service.validation.shapes import check_ids
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.data.dataset import AnyArray
from batchgrad_workers.data.input_transform import InputTransform
from batchgrad_workers.data.tables.encoding import TableEncoding, TableMismatch
from batchgrad_workers.nn.network import Network
from batchgrad_workers.runtime.threads import ThreadPool


@dataclass(frozen=True)
class TrainedNetwork:
    """A job's network, parameters (P,) and transform of inputs; `source` says which parameters."""

    spec: JobSpec
    network: Network
    parameters: Array
    transform: InputTransform | None
    training: TrainedOn
    source: Download
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, task: TrainedTask) -> "TrainedNetwork":
        """Read the parameters that the job keeps, or those that the task asks for.

        Raises:
            ConflictError: no checkpoint is intact, or it is of a version without model cards.
            NotFoundError: the checkpoint was just replaced.
        """

        def read(chosen: Download) -> Snapshot:
            return checkpoints.read(task.directory / chosen.file)

        snapshot, chosen, faults = newest_whole(task.job_id, task.checkpoints, read, task.which)
        if snapshot.training is None:
            raise ConflictError(
                f"The checkpoint of step {snapshot.step} was written by an older version, without "
                f"what predictions need: train job {task.job_id} on for an epoch, or again.",
                code="old_checkpoint",
            )
        network = Network(task.spec.model, tuple(snapshot.training.input_shape))
        best = chosen.which == "best" and snapshot.best
        return cls(
            task.spec,
            network,
            network.flat(best.parameters if best else snapshot.parameters),
            snapshot.transform,
            snapshot.training,
            chosen,
            tuple(faults),
        )

    @property
    def table(self) -> Table | None:
        """The table that the job was trained on."""
        transform = self.transform
        return transform.encoding.table if isinstance(transform, TableEncoding) else None

    @property
    def loss(self) -> LossKind:
        """The job's loss."""
        return LOSSES[self.spec.network_loss]

    def of_table(self, table: Table) -> "TrainedNetwork":
        """The same network for the stored rows of another table.

        Raises:
            InvalidError: the table lacks a column, or has it with another kind.
        """
        if not isinstance(self.transform, TableEncoding):
            raise InvalidError.field(
                "/dataset", "The job was trained on arrays, not on a table: give it arrays."
            )
        try:
            return replace(self, transform=self.transform.compiled(table))
        except TableMismatch as error:
            raise InvalidError.field("/dataset", str(error)) from None

    def unfamiliar(self, inputs: AnyArray) -> tuple[Integers, Integers]:
        """Per column of the table's rows: unexpected gaps, and texts that no training row had."""
        if not isinstance(self.transform, TableEncoding):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return self.transform.unfamiliar(inputs)

    def check(self, inputs: AnyArray, first_row: int = 0) -> None:
        """Check inputs (n, …) that are no table's rows.

        Raises:
            InvalidError: another shape, numbers that are not finite, or ids out of range.
        """
        if self.table is not None:
            raise InvalidError.field(
                "/inputs",
                "The job was trained on a table: give rows with its columns, not arrays.",
            )
        expected = list(self.network.input_shape)
        if list(inputs.shape[1:]) != expected:
            raise InvalidError.field(
                "/inputs",
                f"An example's inputs have shape {list(inputs.shape[1:])}; the job was trained on "
                f"shape {expected}.",
            )
        check_ids(self.spec.model, inputs, "/inputs", first_row=first_row)
        finite = np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)
        if not finite.all():
            raise InvalidError.field(
                "/inputs",
                f"The inputs of example {first_row + int(finite.argmin())} are not finite: remove "
                "or correct it.",
            )

    def outputs(self, inputs: AnyArray) -> Array:
        """The network's outputs (n, outputs) for stored rows (n, …), on all cores.

        They have the same bits as in an evaluation of the job.
        """
        size = self.spec.microbatch
        views = self.network.views(self.parameters)
        dtype = np.dtype(self.spec.precision)
        found = np.empty((len(inputs), self.network.outputs), dtype)

        def work(index: int) -> None:
            rows = slice(index * size, (index + 1) * size)
            part = inputs[rows]
            if self.transform is not None:
                part = self.transform.apply(part, dtype)
            part = np.ascontiguousarray(part, None if self.network.takes_ids else dtype)
            found[rows] = self.network.forward(views, part)[-1].reshape(len(part), -1)

        with ThreadPool(len(os.sched_getaffinity(0))) as pool:
            pool.run(range(-(-len(inputs) // size)), work)
        return found
