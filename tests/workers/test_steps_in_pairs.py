"""Steps of a worker with two microbatches at once: the bits of one by one, where pairs may be."""

from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import GradientsRequest
from batchgrad_service.questions.gradients import answer
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner
from tests.workers.jobs import joined, store, theta, worker_config
from tests.workers.pairs_of import MODEL, everything, need_pairs

BATCH, SIZE, M = 125, 12, 11
"""The last microbatch has five examples."""


def job(directory: Path, **changes: Any) -> WorkerConfig:
    random = np.random.default_rng(1)
    arrays = {"inputs": random.normal(size=(200, 50)), "targets": random.integers(0, 3, 200)}
    fields = {"batch_size": BATCH, "microbatch_size": SIZE, "shortcuts": ("averaged_error",)}
    changed = {"model": MODEL, "validation": None, **fields, **changes}
    return worker_config(store(directory, **arrays), **changed)


def step(
    of: WorkerConfig, edges: Sequence[int] = (), threads: int = 1, *, one_by_one: bool = False
) -> tuple[bytes, int]:
    """Bits of the sums, losses and norms of a step in ranges, and how many pairs there were."""
    parts, count = [], 0
    for start, stop in pairwise([0, *edges, M]):
        with closing(ShardRunner(of, threads)) as shard:
            if one_by_one:
                shard._takes_pairs = False
            else:
                need_pairs(shard._takes_pairs)
            count += sum(
                level for level, _ in shard._nodes(shard._sampler.draw(0, SIZE), start, stop)
            )
            parts.append(shard.gradient_sums(0, theta(of), start, stop))
    losses, norms = (np.concatenate([part[k] for part in parts]) for k in (3, 4))
    return everything(joined(parts, M, GradientSums.join), losses, norms), count


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("edges", "threads", "count"),
    [([], 1, 5), ([], 2, 5), ([], 4, 4), ([], 11, 0), ([1, 4], 1, 4), ([3, 6], 1, 4), ([5], 2, 4)],
)
def test_a_step_has_the_same_bits_with_pairs(
    tmp_path: Path, precision: str, edges: list[int], threads: int, count: int
) -> None:
    of = job(tmp_path, precision=precision)
    assert step(of, edges, threads) == (step(of, one_by_one=True)[0], count)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_examples_of_a_pair_that_overflow_are_dropped_one_by_one(
    tmp_path: Path, precision: str
) -> None:
    of = job(tmp_path, drop_nonfinite=True, precision=precision)
    inputs = np.load(tmp_path / "inputs.npy")
    with closing(ShardRunner(of, 1)) as shard:
        inputs[shard._sampler.draw(0, SIZE).ids[[0, 2, 30]]] = np.inf
    np.save(tmp_path / "inputs.npy", inputs)
    found, count = step(of)
    assert count == 5
    assert found == step(of, one_by_one=True)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 124},
        {"class_weights": np.array([1, 2, 9.0]), "precision": "float32"},
        {"label_smoothing": 0.1},
        {"shortcuts": ()},
    ],
)
def test_other_steps_have_the_same_bits_with_pairs(tmp_path: Path, changes: dict[str, Any]) -> None:
    of = job(tmp_path, **changes)
    assert step(of) == (step(of, one_by_one=True)[0], 5)


@pytest.mark.parametrize("size", [12, 64, 62])
def test_a_step_in_pairs_is_the_question_s_answer(tmp_path: Path, size: int) -> None:
    of = job(tmp_path, microbatch_size=size, batch_size=124, precision="float32")
    values = theta(of)
    with closing(ShardRunner(of, 1)) as shard:
        drawn = shard._sampler.draw(0, size)
        found = shard.gradient_sums(0, values, 0, drawn.microbatches)
        names = {name: array.tolist() for name, array in shard.layout.named(values).items()}
        mean = found.nodes[0].sum.gradient / np.float32(124)
        named = {name: array.tolist() for name, array in shard.layout.named(mean).items()}
    inputs, targets = (np.load(tmp_path / f"{name}.npy") for name in ("inputs", "targets"))
    response = answer(
        GradientsRequest(
            model=MODEL,
            loss="softmax_cross_entropy",
            inputs=inputs[drawn.ids].tolist(),
            targets=targets[drawn.ids].tolist(),
            parameters=names,
            microbatch_size=size,
            precision="float32",
        )
    )
    assert response.mean_gradient == named
    assert response.norms == found.norms.tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"sums": "bfloat16", "precision": "float32"},  # each leaf is rounded
        {"shortcuts": ("mean_of_means",)},  # takes each microbatch's mean
        {"microbatch_size": 13},
        {"class_weights": np.array([1.0, 2.0**70, 1.0])},  # a microbatch's exponent is its own
    ],
    ids=["rounded", "means", "13 rows", "weights"],
)
def test_what_needs_each_microbatch_has_no_pairs(tmp_path: Path, changes: dict[str, Any]) -> None:
    with closing(ShardRunner(job(tmp_path, **changes), 1)) as shard:
        assert not shard._takes_pairs
