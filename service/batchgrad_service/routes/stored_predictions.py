"""Predictions of a job's own stored examples, for its ledger and its confusion."""

from itertools import zip_longest

from starlette.concurrency import run_in_threadpool

from batchgrad.contract import Ledger, RowSet
from batchgrad_service.predicting.stored_rows import StoredPredictions, StoredRowsTask
from batchgrad_service.predicting.tasks import DatasetData
from batchgrad_service.privacy.refusals import EXAMPLES, refuse_private
from batchgrad_service.problems import dataset_gone
from batchgrad_service.routes.data.predictions import trained_task
from batchgrad_service.routes.dependencies import Services


async def predictions_of(job_id: str, services: Services, examples: list[int]) -> StoredPredictions:
    """Predictions of `examples` of the job's dataset, by the parameters that the job keeps.

    Of many, the first that take a second.

    Raises:
        ProblemError: there are none, as for a private job or one of a PyTorch module.
    """
    return await _asked(job_id, services, None, examples)


async def predictions_of_set(job_id: str, services: Services, rows: RowSet) -> StoredPredictions:
    """The same of a set of rows, of a large one of a sample."""
    return await _asked(job_id, services, rows, None)


def validates_elsewhere(job_id: str, services: Services, rows: RowSet) -> str | None:
    """The digest of the dataset that these rows are all of; None if they are the job's own."""
    return services.store.job_inputs(job_id).validation_digest if rows == "validation" else None


async def with_predictions(ledger: Ledger, job_id: str, services: Services) -> Ledger:
    """The ledger with predictions of its examples. Raises as `predictions_of`."""
    found = await predictions_of(job_id, services, [entry.example for entry in ledger.data])
    names = found.classes if found.named else None
    data = [
        entry.model_copy(
            update={
                "prediction": value if names is None or value is None else names[value],
                "probability": probability,
            }
        )
        for entry, value, probability in zip_longest(
            ledger.data, found.prediction, found.probability
        )
    ]
    return ledger.model_copy(update={"data": data, "parameters_step": found.step})


async def _asked(
    job_id: str, services: Services, rows: RowSet | None, examples: list[int] | None
) -> StoredPredictions:
    inputs = await run_in_threadpool(services.store.job_inputs, job_id)
    refuse_private(job_id, inputs.spec, EXAMPLES)
    trained = await run_in_threadpool(trained_task, job_id, services, None)
    other = None
    if rows is not None:
        other = await run_in_threadpool(validates_elsewhere, job_id, services, rows)
    digest = other or inputs.dataset_digest
    with services.datasets.holding(digest) as directory:
        if not directory.exists():
            raise dataset_gone(job_id, digest)
        task = StoredRowsTask(
            trained=trained,
            data=DatasetData(
                directory=directory,
                set=None if other else rows,
                examples=examples,
                sampled=examples is None,
            ),
        )
        with await services.questions.ask(
            "predict_stored",
            task.model_dump_json().encode(),
            data_bytes=trained.checkpoints[0].checkpoint.bytes,
        ) as answer:
            return StoredPredictions.model_validate_json(answer.read())
