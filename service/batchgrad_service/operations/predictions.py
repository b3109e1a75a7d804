"""Predict many examples to a file, and evaluate on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchgrad.contract import OperationKind, PredictionFormat
from batchgrad_service.operations.examples import StoredExamples
from batchgrad_service.operations.work import Ask, Result
from batchgrad_service.predicting.evaluating import EvaluationDone
from batchgrad_service.predicting.predicting import PredictionDone
from batchgrad_service.predicting.tasks import FileTask, Task, TrainedTask
from batchgrad_workers.system.files import new_name

MEDIA_TYPES: Mapping[PredictionFormat, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "npz": "application/x-npz",
}


@dataclass(frozen=True)
class PredictionWork:
    """Predict `examples` with a job's parameters, to a new file in `folder`."""

    trained: TrainedTask
    examples: StoredExamples
    format: PredictionFormat
    folder: Path
    read_bytes: int
    written_bytes: int

    kind: OperationKind = "prediction"

    @property
    def key(self) -> str:
        """Each prediction has a file of its own."""
        return f"prediction {id(self)}"

    def run(self, ask: Ask) -> Result:
        """Have the process write the file."""
        path = self.folder / new_name()  # which the service's next start removes
        try:
            with self.examples.task() as data:
                task = FileTask(trained=self.trained, data=data, to=path, format=self.format)
                done = PredictionDone.model_validate_json(ask(task))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Result(
            file=path,
            media_type=MEDIA_TYPES[self.format],
            warnings=tuple(done.warnings),
            parameters_digest=done.parameters_digest,
            parameters_step=done.parameters_step,
        )


@dataclass(frozen=True)
class EvaluationWork:
    """Evaluate a job's parameters on `examples`."""

    trained: TrainedTask
    examples: StoredExamples
    read_bytes: int
    written_bytes: int

    kind: OperationKind = "evaluation"

    @property
    def key(self) -> str:
        """The same for the same job, parameters and examples."""
        of = self.examples
        newest = self.trained.checkpoints[0].file
        return " ".join(
            str(each)
            for each in (
                *("evaluation", self.trained.job_id, newest, self.trained.which),
                *(of.file, of.dataset, of.set),
            )
        )

    def run(self, ask: Ask) -> Result:
        """Have the process compute the figures."""
        with self.examples.task() as data:
            task = Task(trained=self.trained, data=data)
            done = EvaluationDone.model_validate_json(ask(task))
        return Result(evaluation=done.evaluation, warnings=tuple(done.warnings))
