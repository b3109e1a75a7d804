"""Sums of two microbatches at once, with the bits of one by one; products that keep them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad.contract import Model
from batchgrad_workers.nn.dense import pairs
from batchgrad_workers.nn.dense.pairs import padding
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network
from batchgrad_workers.reduction.sums import GradientSums
from tests.workers.pairs_of import MODEL, everything, need_pairs

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


def both_ways(of: Differentiator, parameters: Any, halves: Sequence[Microbatch]) -> list[bytes]:
    views, n = of.network.views(parameters), len(halves[0].weights)
    need_pairs(of.takes_pairs(n, parameters.dtype))
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
    need_pairs(all(same))
    monkeypatch.setattr(pairs, name, other)
    assert not (pairs._adds(inputs, errors) and pairs._multiplies(inputs, errors, weight))
