"""A worker's shard of a step: the same bits for any ranges, and the right examples."""

from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import GradientsRequest
from batchgrad_service.questions.gradients import answer
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.reduction.sums import LOSS, WEIGHING, WEIGHT
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner, microbatches
from tests.workers.jobs import (
    BATCH,
    EXAMPLES,
    FRACTION,
    MICROBATCH,
    MODEL,
    M,
    bits,
    store,
    theta,
    whole,
    worker_config,
)
from tests.workers.splits import drawn


def minibatch(of: WorkerConfig, step: int = 0) -> Any:
    return Sampler(
        drawn(EXAMPLES, FRACTION, of.seed), seed=of.seed, batch_size=of.batch_size
    ).minibatch(step)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("edges", "threads"),
    [([], 2), ([5], 4), ([1, 2, 11], 1), ([4, 8], 2), (list(range(1, M)), 4)],
)
def test_the_root_s_bits_do_not_depend_on_parts_or_threads(
    tmp_path: Path, precision: str, edges: list[int], threads: int
) -> None:
    of = worker_config(store(tmp_path), precision=precision)
    expected, [alone] = whole(of)

    sums, parts = whole(of, list(pairwise([0, *edges, M])), threads)

    assert BATCH % MICROBATCH
    assert bits(sums) == bits(expected)
    losses = np.concatenate([part.losses for part in parts])
    norms = np.concatenate([part.norms for part in parts])
    assert losses.tobytes() == alone.losses.tobytes()
    assert norms.tobytes() == alone.norms.tobytes()
    assert len(losses) == BATCH


def test_another_size_of_microbatch_gives_the_same_to_rounding(tmp_path: Path) -> None:
    first, _ = whole(worker_config(store(tmp_path)))
    second, _ = whole(worker_config(tmp_path, microbatch_size=10))

    assert first.gradient == pytest.approx(second.gradient, rel=1e-11, abs=1e-12)
    assert first.gradient.tobytes() != second.gradient.tobytes()


def test_threads_can_change_between_steps(tmp_path: Path) -> None:
    of = worker_config(store(tmp_path))
    with closing(ShardRunner(of, 1)) as shard:
        before = shard.gradient_sums(0, theta(of), 0, M)
        shard.use_threads(3)
        after = shard.gradient_sums(0, theta(of), 0, M)

        assert shard.threads == 3
    assert bits(before.nodes[0].sum) == bits(after.nodes[0].sum)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_job_s_step_is_the_question_s_answer_bit_for_bit(
    tmp_path: Path, precision: str, weighted: bool
) -> None:
    weights = np.arange(EXAMPLES) % 4 + 1
    store(tmp_path, **({"weights": weights} if weighted else {}))
    of = worker_config(tmp_path, precision=precision, batch_size=20)
    ids, values = minibatch(of, 1), theta(of)
    inputs = np.load(tmp_path / "inputs.npy")
    with closing(ShardRunner(of, 1)) as shard:
        names = {name: array.tolist() for name, array in shard.layout.named(values).items()}
        part = shard.gradient_sums(1, values, 0, 5)
        mean = part.nodes[0].sum.gradient / values.dtype.type(part.nodes[0].sum.totals[WEIGHT])
        named = {name: array.tolist() for name, array in shard.layout.named(mean).items()}

    response = answer(
        GradientsRequest(
            model=MODEL,
            loss="softmax_cross_entropy",
            inputs=inputs[ids].tolist(),
            targets=np.load(tmp_path / "targets.npy")[ids].tolist(),
            weights=weights[ids].tolist() if weighted else None,
            parameters=names,
            microbatch_size=MICROBATCH,
            precision=of.precision,
        )
    )

    assert response.mean_gradient == named
    assert response.norms == part.norms.tolist()


def test_class_weights_multiply_the_examples_own(tmp_path: Path) -> None:
    own, by_class = np.arange(EXAMPLES) % 3 + 0.5, np.array([1.0, 0.5, 4.0])
    store(tmp_path, weights=own)
    targets = np.load(tmp_path / "targets.npy")
    weighed, [ranges] = whole(worker_config(tmp_path, class_weights=by_class))
    ids = minibatch(worker_config(tmp_path))
    expected = own[ids] * by_class[targets[ids]]

    np.save(tmp_path / "weights.npy", own * by_class[targets])
    multiplied, _ = whole(worker_config(tmp_path))

    assert weighed.totals[WEIGHT] == pytest.approx(expected.sum() / 8)  # 10 / 8 is in [1, 2)
    assert weighed.totals[LOSS] == pytest.approx(expected @ ranges.losses / 8)
    assert bits(weighed) == bits(multiplied)


@pytest.mark.parametrize("shortcuts", [(), ("mean_of_means",), ("averaged_error",)])
def test_only_the_wanted_shortcuts_are_summed(tmp_path: Path, shortcuts: tuple[str, ...]) -> None:
    everything, _ = whole(worker_config(store(tmp_path)))

    sums, _ = whole(worker_config(tmp_path, shortcuts=shortcuts))

    assert sums.gradient.tobytes() == everything.gradient.tobytes()
    assert bool(sums.microbatch_means.size) == ("mean_of_means" in shortcuts)
    assert bool(sums.means.size) == ("averaged_error" in shortcuts)


def test_the_last_short_minibatch_of_an_epoch(tmp_path: Path) -> None:
    of = worker_config(store(tmp_path), validation=None)
    with closing(ShardRunner(of, 2)) as shard:
        part = shard.gradient_sums(1, theta(of), 0, microbatches(EXAMPLES - BATCH, MICROBATCH))

    assert len(part.losses) == EXAMPLES - BATCH
    assert part.nodes[0].sum.totals[WEIGHT] == EXAMPLES - BATCH


def overflowing(tmp_path: Path, **changes: Any) -> tuple[WorkerConfig, int]:
    """A job whose first step holds one example that is not finite; its place there."""
    of = worker_config(store(tmp_path), **changes)
    inputs = np.load(tmp_path / "inputs.npy")
    inputs[minibatch(of)[6]] = np.inf
    np.save(tmp_path / "inputs.npy", inputs)
    return of, 6


def test_an_example_that_overflows_spoils_the_sum_and_shows(tmp_path: Path) -> None:
    of, place = overflowing(tmp_path)

    sums, [part] = whole(of)

    finite = np.isfinite(part.losses) & np.isfinite(part.norms)
    assert np.flatnonzero(~finite).tolist() == [place]
    assert sums.totals[WEIGHT] == BATCH


def test_a_step_leaves_nothing_behind(tmp_path: Path) -> None:
    of, _ = overflowing(tmp_path, drop_nonfinite=True)
    with closing(ShardRunner(of, 1)) as shard:
        first, other, again = (shard.gradient_sums(step, theta(of), 0, M) for step in (0, 2, 0))
    assert bits(first.nodes[0].sum) == bits(again.nodes[0].sum) != bits(other.nodes[0].sum)


def test_dropped_examples_count_for_nothing_and_still_show(tmp_path: Path) -> None:
    of, place = overflowing(tmp_path, drop_nonfinite=True)
    sums, [part] = whole(of)
    (tmp_path / "kept").mkdir()
    store(tmp_path / "kept", weights=np.ones(EXAMPLES))
    weights = np.ones(EXAMPLES)
    weights[minibatch(of)[place]] = 2.0**-60  # no more than rounding
    np.save(tmp_path / "kept" / "weights.npy", weights)
    without, _ = whole(worker_config(tmp_path / "kept"))

    finite = np.isfinite(part.losses) & np.isfinite(part.norms)
    assert np.flatnonzero(~finite).tolist() == [place]
    assert sums.totals[WEIGHT] == BATCH - 1
    assert np.isfinite(sums.means).all()
    assert sums.gradient == pytest.approx(without.gradient, rel=1e-12, abs=1e-14)
    assert sums.totals == pytest.approx(without.totals, rel=1e-12)


def test_a_microbatch_that_is_dropped_whole_is_not_averaged(tmp_path: Path) -> None:
    of = worker_config(store(tmp_path), drop_nonfinite=True)
    inputs, lost = np.load(tmp_path / "inputs.npy"), slice(MICROBATCH, 2 * MICROBATCH)
    inputs[minibatch(of)[lost]] = np.inf
    np.save(tmp_path / "inputs.npy", inputs)

    sums, [part] = whole(of)

    assert sums.totals[WEIGHING] == M - 1
    assert sums.totals[WEIGHT] == BATCH - MICROBATCH
    assert np.flatnonzero(~np.isfinite(part.losses)).tolist() == [*range(BATCH)[lost]]
