"""Errors of a task's code while a job runs: told with file and line, and a reason of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batchgrad.contract import JobSpec
from batchgrad_workers.user_code.errors import UserCodeError, user_errors
from batchgrad_workers.user_code.sources import CodeSource
from tests.engine.attempts import attempt, finished, rows

HERE = CodeSource(search_path=Path(__file__).parents[2])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    directory = tmp_path / "dataset"
    directory.mkdir()
    inputs = np.random.default_rng(3).normal(size=(101, 3)).astype(np.float32)
    inputs[50, 0] = 100  # not among the rows of the preflight
    np.save(directory / "inputs.npy", inputs)
    np.save(directory / "targets.npy", np.arange(101) % 2)
    return directory


def spec(function: str, **changes: Any) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "module",
            "dataset": "small",
            "model": {"torch": f"tests.torch.service.planned_tasks:{function}"},
            "optimizer": {"kind": "sgd", "learning_rate": 0.1},
            "batch_size": 20,
            "epochs": 1,
            "workers": 0,
            "threads": 1,
            **changes,
        }
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_at_a_later_example_fails_the_job_with_its_line(
    dataset: Path, tmp_path: Path, threads: int
) -> None:
    messages = attempt(spec("late", threads=threads), dataset, tmp_path / "job", code=HERE)
    last = finished(messages)
    assert (last.outcome, last.reason) == ("failed", "bad_inputs")
    assert last.detail is not None
    assert "tests/torch/service/planned_tasks.py, line" in last.detail
    assert ", in outputs: LookupError: torch.Size([" in last.detail
    assert 0 < len(rows(messages)) < 6


def test_a_lack_of_memory_is_no_error_of_the_code() -> None:
    with pytest.raises(MemoryError, match="you tried to allocate"), user_errors("tests"):
        torch.empty(2**45)
    with pytest.raises(UserCodeError, match="RuntimeError: "), user_errors("tests"):
        torch.empty(2) @ torch.empty(3)
