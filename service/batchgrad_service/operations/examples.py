"""The examples of a prediction or an evaluation, kept while an operation reads them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchgrad.contract import RowSet, UploadedFile
from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.datasets.uploaded_files import UploadedFiles
from batchgrad_service.predicting.tasks import DatasetData, DataTask, FileData
from batchgrad_service.problems import ConflictError


@dataclass(frozen=True)
class StoredExamples:
    """An uploaded file, or a dataset by its name; or a `set` of the content of a job's own one."""

    datasets: Datasets
    uploads: UploadedFiles
    file: UploadedFile | None = None
    dataset: str | None = None
    content: str | None = None
    set: RowSet | None = None

    @property
    def bytes(self) -> int:
        """Bytes to read. Raises ProblemErrors if the file or the dataset does not exist."""
        if self.file is not None:
            return self.uploads.check_complete(self.file.upload)
        if self.dataset is not None:
            with self.datasets.using(self.dataset) as (dataset, _):
                return dataset.bytes
        return sum(file.stat().st_size for file in self._own().iterdir())

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
                yield DatasetData(directory=self._own(), set=self.set)

    def _own(self) -> Path:
        directory = self.datasets.directory(self.content or "")
        if not directory.exists():
            raise ConflictError(
                "The dataset that the job was trained on was deleted: push it again, or name "
                "another dataset or a file.",
                code="dataset_deleted",
            )
        return directory
