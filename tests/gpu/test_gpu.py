"""The torch engine on a GPU: the same bits, norms against float64, speed beside plain backward."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

from batchgrad.torch import causal_language_model
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.determinism import prepare_process
from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.replica import Batch, Replica
from tests.engine.attempts import attempt, finished, rows
from tests.torch.small_modules import Gpt
from tests.torch.test_jobs import HERE, digest, spec

MOST = 1.5
"""Times of a plain backward pass, on a GPU that nothing else uses."""


@pytest.fixture(scope="module", autouse=True)
def deterministic() -> None:
    assert prepare_process() == []


@pytest.fixture
def replica() -> Replica:
    torch.manual_seed(0)
    return Replica(causal_language_model(Gpt(65, 64, 128, 4, 0.0)), torch.float32, "cuda")


@pytest.fixture
def batch() -> Batch:
    ids = torch.randint(0, 65, (32, 64), generator=torch.Generator().manual_seed(1))
    return Batch({"input_ids": ids.cuda()}, torch.rand(32).cuda())


def test_sums_and_norms_are_those_of_float64(replica: Replica, batch: Batch) -> None:
    trace = together.trace(replica, batch)
    assert trace.uncovered == ()
    found = together.sums(replica, batch, trace)
    exact = one_by_one.sums(
        replica.exact(torch.float64), Batch(batch.arrays, batch.weights.double())
    )
    torch.testing.assert_close(found.norms, exact.norms, rtol=1e-4, atol=0)
    for name, expected in exact.gradients.items():
        distance = (found.gradients[name].double() - expected).norm() / expected.norm()
        assert distance < 1e-4, name


def test_the_same_microbatch_has_the_same_bits(replica: Replica, batch: Batch) -> None:
    trace = together.trace(replica, batch)
    first = together.sums(replica, batch, trace, means=True)
    for _ in range(5):
        again = together.sums(replica.copy(), batch, trace, means=True)
        for name, expected in first.gradients.items():
            assert torch.equal(again.gradients[name], expected), name
        assert torch.equal(again.norms, first.norms)
        assert first.means is not None
        assert again.means is not None
        assert torch.equal(again.means, first.means)


def test_the_preflight_passes(replica: Replica, batch: Batch) -> None:
    assert prepare(replica, batch).path == "together"


@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_jobs_have_the_same_bits_and_learn(tmp_path: Path, autocast: str | None) -> None:
    text = tmp_path / "text"
    text.mkdir()
    steps = np.random.default_rng(5).integers(1, 3, (60, 12))
    np.save(text / "input_ids.npy", steps.cumsum(axis=1) % 30)
    model = {"torch": "tests.torch.small_modules:gpt", "config": {"dropout": 0.2}}
    if autocast:
        model["autocast"] = autocast
    job = spec(
        model=model,
        precision="float32",
        batch_size=16,
        microbatch_size=4,
        num_gpus=1,
        threads="auto",
    )
    messages = attempt(job, text, tmp_path / "first", code=HERE)
    losses = [row.loss or np.nan for row in rows(messages)]
    assert losses[-1] < losses[0]
    assert digest(attempt(job, text, tmp_path / "second", code=HERE)) == digest(messages)
    assert finished(messages).outcome == "succeeded"


def test_sums_and_norms_take_little_longer_than_a_backward_pass() -> None:
    torch.manual_seed(0)
    replica = Replica(causal_language_model(Gpt(65, 128, 256, 4, 0.0)), torch.float32, "cuda")
    ids = torch.randint(0, 65, (64, 128)).cuda()
    batch = Batch({"input_ids": ids}, torch.ones(64).cuda())
    trace = together.trace(replica, batch)

    def plain() -> None:
        replica.module.zero_grad()
        replica.losses(batch).mean().backward()

    def own() -> None:
        together.sums(replica, batch, trace, means=True)

    seconds: dict[Callable[[], None], list[float]] = {plain: [], own: []}
    for _ in range(15):
        for work, found in seconds.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            work()
            torch.cuda.synchronize()
            found.append(time.perf_counter() - started)
    ratio = median(seconds[own]) / median(seconds[plain])
    assert ratio < MOST, ratio
