"""The names that `batchgrad` exports: a name that comes or goes is a change for users."""

import subprocess
import sys

import batchgrad
from batchgrad import contract

ERRORS = """
    ApiError BatchgradError Conflict ConnectionFailed FileFailed InvalidArgument InvalidRequest
    InvalidSpec JobCancelled JobError JobFailed NotFinished NotFound SentRequest ServerError Timeout
    TooManyRequests Unauthorized Unavailable UnexpectedAnswer
"""
REQUESTS = """
    Activation Array DateRule EarlyStopping EvaluationRequest FileFormat GradientsRequest
    ImportRequest InitialParameters JobModel JobSpec Kept Layer Loss LossKind MissingRule Model
    Optimizer ParameterGroup PictureOptions Precision PredictionFormat PredictionRequest
    PrivacyBudget ResumeRequest RowSet Schedule ShortcutName SumsPrecision TableOptions TargetKind
    TextOptions UploadRequest UploadedFile Validation ValidationMetric WorkerRange
"""
ANSWERS = """
    Accountant Clipping DatasetPrivacy JobPrivacy LossReport PlannedPrivacy Privacy
    ArrayInfo BestEvaluation Checkpoint Column ColumnKind ColumnRole Curve Curves Dataset Depth
    EncodedInput
    Encoding
    Evaluation Event EventType
    ExampleInput ExampleInfluence FieldError Figure GradientShortcut GradientsResponse Job JobRow
    JobStatus
    LargestNorm LayeredShortcut Ledger
    LedgerEntry LedgerOrder MeasuredStep NoiseScale NormTest Norms Operation OperationKind
    OperationStatus Page Plan PlannedLayer Predictions ProblemDetails InfluenceOrder Shortcut
    ShortcutLayer StepExamples StepFigures StepRow Table TorchParameter TorchPlan Upload
    ValidationFigure ValidationFigures
    Version
"""
CONSTANTS = """
    ACTIVATIONS API_VERSION DEFAULT_MICROBATCH EXAMPLE_NORM_BOUNDS FIGURES JOB_STATUSES LAYERS
    LOSSES OPTIMIZERS SCHEDULES SHORTCUT_NAMES TERMINAL TRANSITIONS VALIDATION_FIGURES
"""
OTHERS = "AsyncClient Card Client __version__ load_gradients load_job local read_card"


def test_the_public_names_are_these() -> None:
    kinds = [*contract.LAYERS.values(), *contract.OPTIMIZERS.values(), *contract.SCHEDULES.values()]
    listed = f"{ERRORS} {REQUESTS} {ANSWERS} {CONSTANTS} {OTHERS}".split()
    expected = {*listed, *(kind.__name__ for kind in kinds)}
    exported = batchgrad.__all__
    assert set(exported) == expected
    assert len(exported) == len(expected)
    assert set(dir(batchgrad)) >= expected


def test_each_public_name_can_be_imported() -> None:
    code = "from batchgrad import *\nprint(Client.__name__, JobFailed.__name__, Linear.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "Client JobFailed Linear\n"
    for name in batchgrad.__all__:
        assert getattr(batchgrad, name) is not None


def test_other_names_are_not_attributes() -> None:
    for name in ("client_", "Nothing", "httpx2", "field", "Wire"):
        assert not hasattr(batchgrad, name)
