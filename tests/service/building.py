"""Jobs, reports and datasets to test with."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from httpx2 import Response
from starlette.testclient import TestClient

from batchgrad.contract import Dataset, Job, JobSpec, Plan, StepRow
from batchgrad_engine.messages import Checkpointed, Evaluated, Observed, Report
from batchgrad_engine.step_columns import columns_of
from batchgrad_service.store import Store

NOW = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
PLAN = Plan(
    dataset_digest=DIGEST,
    training_examples=10,
    validation_examples=0,
    parameters=3,
    layers=[],
    steps_planned=20,
    steps_per_epoch=1,
    microbatches_per_step=1,
    microbatch_size=10,
    shortcuts=["averaged_error"],
    gradient_bytes=12,
    memory_bytes=100,
    warnings=[],
)


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "digits",
            "dataset": "digits",
            "model": {"layers": [{"kind": "linear", "out_features": 2}]},
            "loss": "softmax_cross_entropy",
            "optimizer": {"kind": "sgd", "learning_rate": 0.1},
            "batch_size": 10,
            "steps": 20,
            **changes,
        }
    )


def body(**changes: Any) -> dict[str, Any]:
    """The spec as JSON, also with invalid values."""
    made: dict[str, Any] = {**spec().model_dump(mode="json"), **changes}
    return made


def create(
    store: Store,
    key: str | None = None,
    body: str = "b",
    digest: str = DIGEST,
    warnings: Sequence[str] = (),
    **changes: Any,
) -> Job:
    job, _ = store.create_job(
        spec(**changes),
        dataset_digest=digest,
        steps_planned=20,
        warnings=list(warnings),
        plan=PLAN,
        initial_parameters=None,
        idempotency_key=key,
        body_digest=body,
    )
    return job


def row(step: int, loss: float = 1.0) -> StepRow:
    return StepRow.model_validate(
        {
            "step": step,
            "epoch": 1,
            "time": NOW,
            "loss": loss,
            "weight": 48.5,
            "learning_rate": 0.1,
            "gradient_norm": 2.0,
            "noise_scale": None,
            "norm_test": {"ratio": 0.5, "batch_size": 12.0},
            "gradient_checksum": "ab" * 16,
            "norms": {"quantiles": {"0.5": 1.5}, "largest": [{"example": 3, "norm": 9.0}]},
            "shortcuts": {
                "averaged_error": {
                    "relative_error": 0.25,
                    "cosine_similarity": 0.5,
                    "norm_ratio": None,
                    "layers": [
                        {
                            "name": "0",
                            "relative_error": 0.25,
                            "covariance_norm": 0.1,
                            "propagation_norm": 0.0,
                        }
                    ],
                }
            },
            "phases": {"compute": 0.001},
            "workers": 2,
        }
    )


def report(*rows: StepRow, evaluations: Sequence[Evaluated] = ()) -> Report:
    return Report(
        workers=2,
        threads=3,
        executor="ray",
        examples_per_second=1000.0,
        steps=columns_of([row.model_dump() for row in rows]),
        evaluations=list(evaluations),
        observed=Observed(),
    )


def checkpointed(step: int) -> Checkpointed:
    return Checkpointed(
        step=step,
        time=NOW,
        file=f"step-{step}.safetensors",
        bytes=100,
        digest=DIGEST,
        parameters_digest="sha256:" + "b" * 64,
    )


def started(store: Store, **changes: Any) -> tuple[str, int]:
    """A running job and its attempt."""
    job = create(store, **changes)
    attempt = store.begin_attempt(job.id)
    assert attempt is not None
    store.transition(job.id, to="running", allowed=["starting"], attempt=attempt)
    return job.id, attempt


def dataset(name: str = "digits", digest: str = DIGEST) -> Dataset:
    return Dataset(
        name=name,
        digest=digest,
        examples=10,
        input_shape=[4],
        input_dtype="float32",
        target_kind="classes",
        classes=2,
        weighted=False,
        bytes=100,
        created_at=NOW,
    )


def npz(**arrays: Any) -> bytes:
    """An npz archive's bytes."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def push(http: TestClient, name: str = "digits", shift: int = 0) -> dict[str, Any]:
    """Ten examples of three numbers, two classes, stored under `name`."""
    inputs = np.arange(30, dtype=np.float32).reshape(10, 3) + shift
    answer = http.put(f"/v1/datasets/{name}", content=npz(inputs=inputs, targets=np.arange(10) % 2))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def submit(http: TestClient, **changes: Any) -> Job:
    """A job that the service has accepted."""
    answer = http.post("/v1/jobs", json=body(**changes))
    assert answer.status_code == 201, answer.text
    return Job.model_validate(answer.json())


def problem(answer: Response, status: int) -> dict[str, Any]:
    """The problem of an answer, after a check of its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["detail"]
    return found
