"""The examples of a prediction or an evaluation, kept while an operation reads them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchgrad.contract import RowSet, UploadedFile
from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.datasets.uploaded_files import UploadedFiles
from batchgrad_service.predicting.tasks import DatasetData, DataTask, FileData
from batchgrad_service.problems import dataset_gone


@dataclass(frozen=True)
class StoredExamples:
    """An uploaded file, a dataset by its name, or else the job's own one, perhaps a `set` of it.

    `content` is the digest of the job's own one.
    """

    datasets: Datasets
    uploads: UploadedFiles
    job_id: str
    content: str
    file: UploadedFile | None = None
    dataset: str | None = None
    set: RowSet | None = None

    @property
    def bytes(self) -> int:
        """Bytes to read. Raises ProblemErrors if the file or the dataset does not exist."""
        if self.file is not None:
            return self.uploads.check_complete(self.file.upload)
        if self.dataset is not None:
            with self.datasets.using(self.dataset) as (dataset, _):
                return dataset.bytes
        own = self._checked(self.datasets.directory(self.content))
        return sum(file.stat().st_size for file in own.iterdir())

    @contextmanager
    def task(self) -> Iterator[DataTask]:
        """Yield what the process gets."""
        with ExitStack() as kept:
            if self.file is not None:
                yield FileData(
                    file=self.file,
                    path=kept.enter_context(self.uploads.using(self.file.upload)),
                    scratch=kept.enter_context(self.datasets.new_directory()),
                    max_bytes=self.datasets.max_bytes,
                )
            elif self.dataset is not None:
                _, directory = kept.enter_context(self.datasets.using(self.dataset))
                yield DatasetData(directory=directory)
            else:
                directory = kept.enter_context(self.datasets.holding(self.content))
                yield DatasetData(directory=self._checked(directory), set=self.set)

    def _checked(self, directory: Path) -> Path:
        if not directory.exists():
            raise dataset_gone(self.job_id, self.content)
        return directory
