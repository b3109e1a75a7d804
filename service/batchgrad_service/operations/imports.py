"""Import an uploaded file: its process writes the arrays, the service gives them a name."""

from dataclasses import dataclass

from batchgrad.contract import ImportRequest, OperationKind
from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.datasets.uploaded_files import UploadedFiles
from batchgrad_service.operations.work import Ask, Result
from batchgrad_service.questions.kinds import CONTENT, ImportTask

_HEADER_BYTES = 2**16


@dataclass(frozen=True)
class ImportWork:
    """Store the uploaded file of `request` as the dataset `name`, or describe what it would be."""

    name: str
    request: ImportRequest
    read_bytes: int
    datasets: Datasets
    uploads: UploadedFiles

    kind: OperationKind = "import"

    @property
    def key(self) -> str:
        """Name and request."""
        return f"import {self.name} {self.request.model_dump_json()}"

    @property
    def written_bytes(self) -> int:
        """The largest array."""
        return self.datasets.max_bytes + _HEADER_BYTES

    def run(self, ask: Ask) -> Result:
        """Have the process write the arrays, then give them the name."""
        with (
            self.uploads.using(self.request.file.upload) as path,
            self.datasets.new_directory() as directory,
        ):
            task = ImportTask(
                path=path,
                request=self.request,
                directory=directory,
                max_bytes=self.datasets.max_bytes,
            )
            content = CONTENT.validate_json(ask(task))
            if self.request.dry_run:
                return Result(dataset=self.datasets.described(self.name, content))
            dataset, _ = self.datasets.keep(
                self.name, directory, content, replace=self.request.replace
            )
            return Result(dataset=dataset)
