"""Two microbatches at once: the bits of one by one, wherever they are computed so."""

from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad.contract import GradientsRequest, Model
from batchgrad_service.questions.gradients import answer
from batchgrad_workers.nn.dense import pairs
from batchgrad_workers.nn.dense.pairs import padding
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner
from tests.workers.jobs import joined, store, theta, worker_config

RELU = {"kind": "relu"}
MODEL = Model.model_validate(
    {
        "layers": [
            {"kind": "linear", "out_features": 70},
            RELU,
            {"kind": "linear", "out_features": 33, "bias": False},
            {"kind": "linear", "out_features": 3},
        ]
    }
)
NO_PAIRS = "On this CPU gradients that products add up have other bits: no pairs."
SIZES = [24, 96, 128, 250]


@pytest.fixture(autouse=True)
def _forget() -> Any:
    pairs.stages_of_pairs.cache_clear()
    yield
    pairs.stages_of_pairs.cache_clear()


def differentiator(loss: str = "softmax_cross_entropy", *, means: bool = True) -> Differentiator:
    of = Network(MODEL, (50,))
    return Differentiator(of, LOSSES[loss], MeansLayout(of) if means else None, False)  # type: ignore[index]


def microbatch(random: np.random.Generator, n: int, dtype: Any, *, weighted: bool) -> Microbatch:
    targets = random.random((n, 3)) + 0.1
    weights = random.random(n).round(1) if weighted else np.ones(n)
    return Microbatch(
        random.normal(size=(n, 50)).astype(dtype),
        (targets / targets.sum(axis=1, keepdims=True)).astype(dtype),
        weights.astype(dtype),
    )


def together(halves: Sequence[Microbatch], missing: int) -> Microbatch:
    """Both, with inputs behind those of each that nothing but products may see."""
    others = np.full_like(halves[0].inputs[:missing], np.nan)
    inputs = np.concatenate([part for half in halves for part in (half.inputs, others)])
    targets, weights = (np.concatenate([half[k] for half in halves]) for k in (1, 2))
    return Microbatch(inputs, targets, weights)


def everything(sums: GradientSums, losses: Any, norms: Any) -> bytes:
    """All bits but those of a NaN: which operand's sign it has depends on the loop."""
    arrays = (sums.gradient, sums.totals, sums.microbatch_means, sums.means, losses, norms)
    return b"".join(np.where(np.isnan(array), np.nan, array).tobytes() for array in arrays)


def both_ways(of: Differentiator, parameters: Any, halves: Sequence[Microbatch]) -> list[bytes]:
    views, n = of.network.views(parameters), len(halves[0].weights)
    if not of.takes_pairs(n, parameters.dtype):
        pytest.skip(NO_PAIRS)
    with np.errstate(all="ignore"):
        found = of.joined_sums(views, together(halves, of.padding(n)), 2)
        left, right = (of.sums(views, half) for half in halves)
        one_by_one = GradientSums.join(left[0], right[0])
    losses, norms = (np.concatenate([left[k], right[k]]) for k in (1, 2))
    return [everything(*found), everything(one_by_one, losses, norms)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from(sorted(LOSSES)),
    n=st.sampled_from(SIZES),
    means=st.booleans(),
    weighted=st.booleans(),
)
def test_a_pair_has_the_bits_of_its_halves(
    dtype: Any, seed: int, loss: str, n: int, means: bool, weighted: bool
) -> None:
    random, of = np.random.default_rng(seed), differentiator(loss, means=means)
    halves = [microbatch(random, n, dtype, weighted=weighted) for _ in range(2)]
    found, expected = both_ways(of, random.normal(size=of.network.size).astype(dtype), halves)
    assert found == expected


@pytest.mark.parametrize("scale", [np.nan, np.inf, 1e38, 3e36, 1e36, 1e30, 1e-30])
@pytest.mark.parametrize("rows", [[0], [95], [96], [191], [3, 100], [3, 4, 100, 101, 190]])
def test_extreme_rows_of_a_pair_have_the_norms_of_their_half(scale: float, rows: list[int]) -> None:
    random, of = np.random.default_rng(len(rows)), differentiator("squared_error")
    halves = [microbatch(random, 96, np.float32, weighted=True) for _ in range(2)]
    for row in rows:
        halves[row // 96].inputs[row % 96] *= np.float32(scale)
    found, expected = both_ways(of, random.normal(size=of.network.size).astype("f4"), halves)
    assert found == expected


@pytest.mark.parametrize("flattened", [False, True])
def test_images_and_tiny_layers_have_the_bits_of_their_halves(flattened: bool) -> None:
    layers = [{"kind": "flatten"}] * flattened + [{"kind": "linear", "out_features": 1}]
    of = Network(Model.model_validate({"layers": layers}), (2, 3, 1) if flattened else (1,))
    found = Differentiator(of, LOSSES["squared_error"], MeansLayout(of), False)
    random = np.random.default_rng(0)
    halves = [
        Microbatch(
            random.normal(size=(96, *of.input_shape)).astype("f4"),
            random.normal(size=(96, 1)).astype("f4"),
            np.ones(96, "f4"),
        )
        for _ in range(2)
    ]
    one, other = both_ways(found, random.normal(size=of.size).astype("f4"), halves)
    assert one == other


def test_a_half_whose_weights_are_all_zero_is_not_counted() -> None:
    random, of = np.random.default_rng(0), differentiator()
    halves = [microbatch(random, 24, np.float32, weighted=True) for _ in range(2)]
    halves[0].weights[:] = 0
    found, expected = both_ways(of, random.normal(size=of.network.size).astype("f4"), halves)
    assert found == expected


@pytest.mark.parametrize(("examples", "rows"), [(1, 0), (12, 0), (64, 0), (128, 4), (250, 2)])
def test_padding_is_a_small_part_of_the_rows(examples: int, rows: int) -> None:
    assert padding(examples) == rows


@pytest.mark.parametrize("same", [True, False])
def test_without_the_same_bits_microbatches_go_one_by_one(
    monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    monkeypatch.setattr(pairs, "_adds", lambda *_: same)
    of = differentiator()
    assert of.takes_pairs(128, np.dtype("f4")) == same
    assert not of.takes_pairs(100, np.dtype("f4"))  # 8 more rows would be too many
    assert not of.takes_pairs(1, np.dtype("f4"))
    if not same:
        random = np.random.default_rng(0)
        halves = [microbatch(random, 24, np.float32, weighted=False) for _ in range(2)]
        theta = random.normal(size=of.network.size).astype("f4")
        with pytest.raises(ValueError, match="2 microbatches of 24 at once"):
            of.joined_sums(of.network.views(theta), together(halves, 0), 2)


def test_products_whose_bits_differ_are_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_multiplies", lambda *_: False)
    random, of = np.random.default_rng(0), differentiator()
    halves = [microbatch(random, 96, np.float32, weighted=False) for _ in range(2)]
    found, expected = both_ways(of, random.normal(size=of.network.size).astype("f4"), halves)
    assert found == expected


@pytest.mark.parametrize(
    ("name", "call"),
    [(name, call) for name in ("times_transposed", "times") for call in range(3)]
    + [("transposed_times", 0), ("transposed_times", 2)],  # the other one is in both sums
)
def test_a_bit_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    random = np.random.default_rng(0)
    inputs, errors, weight = (
        random.standard_normal(shape, np.float32) for shape in ((2, 24, 50), (2, 24, 70), (70, 50))
    )
    product, calls = getattr(pairs, name), iter(range(9))

    def other(*arguments: Any) -> None:
        product(*arguments)
        if next(calls) == call:
            out = arguments[-1]
            out[-1, -1] = np.nextafter(out[-1, -1], np.float32(np.inf))

    same = pairs._adds(inputs, errors), pairs._multiplies(inputs, errors, weight)
    monkeypatch.setattr(pairs, name, other)
    found = pairs._adds(inputs, errors), pairs._multiplies(inputs, errors, weight)
    assert found != same if all(same) else pytest.skip(NO_PAIRS)


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
            elif not shard._takes_pairs:
                pytest.skip(NO_PAIRS)
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
