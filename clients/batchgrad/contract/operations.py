"""Uploads, and the operations that read them: imports, predictions and evaluations."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from batchgrad.contract.datasets import Dataset
from batchgrad.contract.tables import PictureOptions, TableOptions, TextOptions
from batchgrad.contract.training.stopping import Kept
from batchgrad.contract.views import ProblemDetails
from batchgrad.contract.wire import Answer, Integer, Name, Sha256, Truth, Wire, exactly_one

__all__ = [
    "Evaluation",
    "EvaluationRequest",
    "FileFormat",
    "ImportRequest",
    "Operation",
    "OperationKind",
    "OperationStatus",
    "PredictionFormat",
    "PredictionRequest",
    "Predictions",
    "RowSet",
    "Upload",
    "UploadRequest",
    "UploadedFile",
]

FileFormat = Literal["npz", "npy", "csv", "tsv", "jsonl", "parquet", "arrow", "pictures"]
"""npy is a zip of inputs.npy, targets.npy and so on; pictures a zip of one folder a class."""

PICTURE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm",
)  # fmt: skip
"""Of the files in a folder or zip of pictures."""

NO_DIGEST = f"sha256:{'0' * 64}"
"""Of a file that is not uploaded, or not yet."""

PredictionFormat = Literal["csv", "jsonl", "parquet", "npz"]
OperationKind = Literal["import", "prediction", "evaluation"]
OperationStatus = Literal["waiting", "running", "succeeded", "failed", "cancelled"]
RowSet = Literal["training", "validation", "test"]


class UploadRequest(Wire):
    """A file to upload, named by the SHA-256 of its bytes."""

    digest: Sha256
    bytes: Integer = Field(ge=0)


class Upload(Answer):
    """A file that was uploaded, or a part of one: its first `received` bytes."""

    digest: str
    bytes: int
    received: int


class UploadedFile(Wire):
    """An uploaded file and how to read it; `name` decides the format if it is not given."""

    upload: Sha256
    name: Annotated[str, StringConstraints(max_length=1024)] = ""
    format: FileFormat | None = None
    text: TextOptions = TextOptions()
    pictures: PictureOptions = PictureOptions()


class ImportRequest(Wire):
    """Store an uploaded file as a dataset; with `dry_run` only describe it."""

    file: UploadedFile
    table: TableOptions = TableOptions()
    replace: Truth = False
    dry_run: Truth = False


class PredictionRequest(Wire):
    """The rows to predict; give exactly one of rows, inputs, file, dataset.

    `rows` are tables' rows, {column: value}; `inputs` (n, …) are a network's own inputs.
    """

    rows: list[dict[str, Any]] | None = None
    inputs: list[Any] | None = None
    file: UploadedFile | None = None
    dataset: Name | None = None
    format: PredictionFormat = Field(default="csv", description="of the result for file, dataset")
    which: Kept | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        exactly_one(self, "rows", "inputs", "file", "dataset")
        return self


class EvaluationRequest(Wire):
    """The examples to evaluate on; give exactly one of set, file, dataset."""

    set: RowSet | None = Field(default=None, description="of the job's own dataset")
    file: UploadedFile | None = None
    dataset: Name | None = None
    which: Kept | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        exactly_one(self, "set", "file", "dataset")
        return self


class Evaluation(Answer):
    """Figures of a job's parameters on some examples; null where a figure is undefined.

    Accuracy, balanced accuracy, confusion and AUC are of classes and count every example equally;
    R², RMSE and MAE are of numbers and, like the loss, weighted by the examples' own weights, not
    by class weights. The loss has no label smoothing.
    `confusion` has a row for each true class and a column for each predicted one. `auc` is the
    area under the ROC curve, with more than two classes the mean of one against the rest.
    """

    examples: int
    loss: float | None
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    auc: float | None = None
    confusion: list[list[int]] | None = None
    classes: list[str] | None = None
    r2: float | None = None
    rmse: float | None = None
    mae: float | None = None
    parameters_digest: str
    parameters_step: int


class Predictions(Answer):
    """Predictions of a few rows, in their order.

    `prediction` (n,) is a class's name, its number if classes have no names, or a number, or
    (n, outputs) numbers. `probabilities` (n, classes) belong to `classes`.
    """

    prediction: list[Any]
    probabilities: list[list[float]] | None = None
    classes: list[str] | None = None
    ids: list[str] | None = None
    parameters_digest: str
    parameters_step: int
    warnings: list[str] = Field(default=[])


class Operation(Answer):
    """Work on an uploaded file or a dataset, done by a process of its own.

    `problem` says why it failed. The result is `dataset` of an import, `evaluation`, or for a
    prediction a file of `bytes` bytes at /v1/operations/{id}/result. Operations are forgotten when
    the service stops, and an hour after their end.
    """

    id: str
    kind: OperationKind
    status: OperationStatus
    rows_done: int
    rows: int | None = Field(description="in all, null until that is known")
    created_at: datetime
    finished_at: datetime | None
    problem: ProblemDetails | None = None
    warnings: list[str] = Field(default=[])
    dataset: Dataset | None = None
    evaluation: Evaluation | None = None
    bytes: int | None = None
    parameters_digest: str | None = Field(
        default=None, description="of the parameters that a prediction used"
    )
    parameters_step: int | None = None
