"""What `plan` warns of, and what it refuses, about training features."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Dataset, Plan
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.job_data import JobData
from batchgrad_service.validation.plan import plan
from tests.engine.small_job import spec

SGD: dict[str, Any] = {"kind": "sgd", "learning_rate": 0.1}
STOPPING = {"metric": "validation_loss", "patience": 2}


def planned(directory: Path, **changes: Any) -> Plan:
    """The small job's plan: 91 training examples, 5 steps an epoch, 4 epochs."""
    described = Dataset(
        name="small",
        digest="sha256:0",
        examples=101,
        input_shape=[6],
        input_dtype="float32",
        target_kind="classes",
        classes=3,
        weighted=True,
        bytes=0,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    if changes.get("loss") in {"squared_error", "linear_error"}:
        np.save(directory / "targets.npy", np.zeros((101, 3), np.float32))
        described = described.model_copy(update={"target_kind": "values", "classes": None})
    return plan(spec(**changes), JobData(described, directory))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"loss": "linear_error"}, "no minimum"),
        ({"batch_size": 92}, "91 training examples"),
        ({"batch_size": 20, "microbatch_size": 10, "workers": 3}, "1 will idle"),
        ({"update": "averaged_error"}, "the parameters follow this shortcut"),
        ({"optimizer": SGD | {"schedule": {"kind": "cosine", "warmup_steps": 20}}}, "never begins"),
        ({"optimizer": SGD | {"schedule": {"kind": "step", "every": 20}}}, "never falls"),
        ({"early_stopping": {"patience": 4}}, "never stop early"),
        (
            {"early_stopping": STOPPING, "optimizer": SGD | {"schedule": {"kind": "cosine"}}},
            "has not reached its final value",
        ),
    ],
)
def test_warns(dataset: Path, changes: dict[str, Any], part: str) -> None:
    [warning] = planned(dataset, **changes).warnings
    assert part in warning


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_size": "full"},
        {"early_stopping": STOPPING},
        {"batch_size": 20, "microbatch_size": 10, "workers": 2},
        {"workers": {"min": 1, "max": 90}},
        {"optimizer": SGD | {"schedule": {"kind": "step", "every": 19}}},
    ],
)
def test_says_nothing_about_what_is_well(dataset: Path, changes: dict[str, Any]) -> None:
    assert planned(dataset, **changes).warnings == []


def test_full_batch_is_one_step_an_epoch(dataset: Path) -> None:
    found = planned(dataset, batch_size="full", microbatch_size=None)
    assert (found.steps_per_epoch, found.steps_planned, found.microbatches_per_step) == (1, 4, 1)
    assert found.microbatch_size == 128


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"validation_fraction": 0.001, "early_stopping": STOPPING}, "/validation_fraction"),
        (
            {"loss": "squared_error", "early_stopping": {"metric": "validation_accuracy"}},
            "/early_stopping/metric",
        ),
    ],
)
def test_refuses_what_can_never_stop(dataset: Path, changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidError) as refused:
        planned(dataset, **changes)
    assert refused.value.errors[0].pointer == pointer
