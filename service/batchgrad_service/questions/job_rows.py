"""The rows of a job's sets, by its split of the stored dataset."""

from pathlib import Path

import numpy as np
from pydantic import BaseModel

from batchgrad.contract import JobRow, JobSpec, Page, RowSet
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_service.problems import dataset_gone
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.dataset import StoredDataset


class RowsQuestion(BaseModel):
    """A page of the rows of one set: `limit` rows after row `after`, None: from the first.

    `dataset` and `validation` are the directories of contents, the second one that of another
    dataset that the job validates on.
    """

    job_id: str
    spec: JobSpec
    dataset: Path
    validation: Path | None
    set: RowSet
    after: int | None
    limit: int

    @property
    def of_other(self) -> Path | None:
        """The other dataset's directory if its rows are asked for."""
        return self.validation if self.set == "validation" else None

    def target_bytes(self) -> int:
        """The size of the dataset's targets, if any. Raises ConflictError if it was deleted."""
        directory = self.of_other or self.dataset
        targets = self.open(directory).arrays.get("targets")
        return 0 if targets is None else targets.nbytes

    def open(self, directory: Path) -> StoredDataset:
        """Map a dataset. Raises ConflictError if it was deleted."""
        try:
            return StoredDataset.open(directory)
        except FileNotFoundError:
            raise dataset_gone(self.job_id, f"sha256:{directory.name}") from None


def answer(question: RowsQuestion) -> Page[JobRow]:
    """Return the rows in ascending order; those of weight 0 are in no set.

    Raises:
        ConflictError: a dataset was deleted.
    """
    stored, rows = _rows(question)
    start = 0 if question.after is None else int(np.searchsorted(rows, question.after, "right"))
    found = rows[start : start + question.limit]
    more = start + question.limit < len(rows)
    return Page[JobRow](
        data=[JobRow(example=example, id=stored.id_of(example)) for example in found.tolist()],
        next=str(found[-1]) if more else None,
    )


def _rows(question: RowsQuestion) -> tuple[StoredDataset, Integers]:
    own = question.open(question.dataset)
    if question.of_other is not None:
        other = question.open(question.of_other).renumbered(own.class_names)
        return other, job_sampler(question.spec, other).training  # all that have a weight
    return own, job_sampler(question.spec, own).split.rows_of(question.set)
