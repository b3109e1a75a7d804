"""Forward passes in bfloat16: sums keep float32, and a job trains with them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from batchgrad.contract import JobSpec
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.replica import Batch, Replica
from tests.engine.attempts import attempt, finished, rows
from tests.torch.small_modules import gpt, residual
from tests.torch.test_jobs import HERE, digest, spec

BFLOAT16 = 2.0**-8


@pytest.fixture
def batch() -> Batch:
    random = torch.Generator().manual_seed(4)
    ids = torch.randint(0, 30, (8, 12), generator=random)
    return Batch({"input_ids": ids}, torch.rand(8, generator=random))


def test_sums_differ_from_float32_by_the_rounding_of_bfloat16_alone(batch: Batch) -> None:
    torch.manual_seed(0)
    task = gpt({})
    cast = Replica(task, torch.float32, "cpu", torch.bfloat16)
    exact = one_by_one.sums(Replica(task), batch)
    found = together.sums(cast, batch, together.trace(cast, batch))
    alone = one_by_one.sums(cast, batch)
    for name, expected in exact.gradients.items():
        assert found.gradients[name].dtype == torch.float32
        distance = (found.gradients[name] - expected).norm() / expected.norm()
        others = (alone.gradients[name] - expected).norm() / expected.norm()
        assert distance < 4 * BFLOAT16
        assert distance < 1.5 * others + 1e-6  # no worse than autograd in bfloat16
    assert not torch.equal(found.losses, exact.losses)
    torch.testing.assert_close(found.norms, exact.norms, rtol=4 * BFLOAT16, atol=0)


@pytest.mark.parametrize("name", ["gpt", "residual"])
def test_the_preflight_takes_a_module_in_bfloat16(batch: Batch, name: str) -> None:
    torch.manual_seed(0)
    task = {"gpt": gpt, "residual": residual}[name]({})
    if name == "residual":
        inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(3))
        batch = Batch({"inputs": inputs, "targets": torch.arange(8) % 3}, batch.weights)
    found = prepare(Replica(task, torch.float32, "cpu", torch.bfloat16), batch)
    assert (found.path, found.uncovered) == ("together", ())


def test_a_job_in_bfloat16_learns_with_the_same_bits_on_any_threads(
    text: Path, tmp_path: Path
) -> None:
    model = {"torch": "tests.torch.small_modules:gpt", "autocast": "bfloat16"}
    job: JobSpec = spec(model=model, precision="float32", batch_size=16, microbatch_size=4)
    whole = attempt(job, text, tmp_path / "whole", code=HERE)
    losses = [row.loss or np.nan for row in rows(whole)]
    assert losses[-1] < losses[0]
    threads = job.model_copy(update={"threads": 2})
    assert digest(attempt(threads, text, tmp_path / "threads", code=HERE)) == digest(whole)


def test_a_job_for_gpus_says_that_there_is_none(text: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this host has a GPU")
    job = spec(model={"torch": "tests.torch.small_modules:gpt"}, num_gpus=1, threads="auto")
    last = finished(attempt(job, text, tmp_path / "job", code=HERE))
    assert (last.outcome, last.reason) == ("failed", "bad_inputs")
    assert "finds no GPU" in (last.detail or "")
