"""‖g_n‖ where squares cancel, over- or underflow, against g_n formed in long double."""

from math import prod
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Model
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.kernels.gradients import linear_norms
from batchgrad_workers.nn.kernels.norms import norm, norms
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import Network
from tests.workers.stacks import rows

WIDE = {"kind": "linear", "out_features": 40}
CONV: dict[str, Any] = {"kind": "conv2d", "out_channels": 24, "kernel_size": 2}
LAYERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "a sequence by Gram matrices": ((6, 30), WIDE),
    "a sequence by Gram matrices, no bias": ((6, 30), {**WIDE, "bias": False}),
    "a sequence formed": ((30, 6), {"kind": "linear", "out_features": 4}),
    "vectors": ((30,), WIDE),
    "layer_norm": ((6, 30), {"kind": "layer_norm"}),
    "conv2d by Gram matrices": ((8, 4, 3), CONV),
    "conv2d by Gram matrices, 2 groups": ((16, 3, 3), {**CONV, "groups": 2}),
    "conv2d formed": ((2, 8, 8), CONV),
    "conv1d by Gram matrices": (
        (8, 7),
        {"kind": "conv1d", "out_channels": 24, "kernel_size": 3},
    ),
    "conv1d formed": ((2, 40), {"kind": "conv1d", "out_channels": 3, "kernel_size": 2}),
    "group_norm": ((4, 6, 5), {"kind": "group_norm", "num_groups": 2}),
    "embedding": ((12,), {"kind": "embedding", "num_embeddings": 3, "embedding_dim": 7}),
}
EXAMPLES = 4
KINDS = ["equal", "apart 1e-2", "apart 1e-3", "apart 1e-4", "alternating", "zero", "tiny", "huge"]
SIZES = {"float32": (1e-25, 1e25), "float64": (1e-170, 1e170)}


def gram_case(
    kind: str, shape: tuple[int, ...], outputs: tuple[int, ...], dtype: str
) -> tuple[Array, Array]:
    """Inputs (n, *shape), alike at all positions, and errors (n, o) that sum to 0 over these."""
    random = np.random.default_rng(len(kind) + prod(outputs))
    tiny, huge = SIZES[dtype]
    alike = np.broadcast_to(random.normal(size=shape[-1]), (EXAMPLES, *shape))
    by_channel = len(shape) == 3 or (len(outputs) == 2 and shape[0] != outputs[0])
    if by_channel:  # those of a place
        places = [1] * (len(shape) - 1)
        alike = np.broadcast_to(random.normal(size=(shape[0], *places)), (EXAMPLES, *shape))
    apart = float(kind.split()[1]) if kind.startswith("apart") else float(kind in ("tiny", "huge"))
    inputs = alike + apart * random.normal(size=(EXAMPLES, *shape))
    channels = outputs[0] if by_channel else outputs[-1]
    positions = prod(outputs) // channels
    errors = random.normal(size=(EXAMPLES, positions, channels))
    if kind == "alternating":
        sizes = np.geomspace(1, 1e6, EXAMPLES)[:, None, None] * np.ones(channels)
        errors = sizes * (-1.0) ** np.arange(positions)[:, None]
    if positions > 1:
        errors -= errors.mean(axis=1, keepdims=True)
    errors *= {"zero": 0.0, "tiny": tiny, "huge": huge}.get(kind, 1.0)
    if by_channel:
        errors = errors.swapaxes(1, 2)
    return inputs, errors.reshape(EXAMPLES, -1)


def exact(of: Network, inputs: Array, targets: Array) -> tuple[Any, Any]:
    """‖g_n‖, and the same of absolute terms, which bounds what rounding can change."""

    def formed(inputs: Array, targets: Array) -> Any:
        batch = Microbatch(inputs, targets, np.ones(len(inputs)))
        views = of.views(np.zeros(of.size))
        each = Differentiator(of, LOSSES["squared_error"], None, False).each(views, batch)
        return np.linalg.norm(rows(each).astype(np.longdouble), axis=1)

    terms = formed(inputs if of.takes_ids else np.abs(inputs), -np.abs(targets))
    return formed(inputs, targets), terms


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAYERS)
def test_norms_where_squares_cancel_or_leave_their_range(name: str, kind: str, dtype: str) -> None:
    shape, layer = LAYERS[name]
    of = Network(Model.model_validate({"layers": [layer]}), shape)
    numbers, errors = gram_case(kind, shape, of.output_shape, dtype)
    inputs: Any = numbers.astype(dtype)
    if of.takes_ids:
        inputs = np.arange(numbers.size).reshape(numbers.shape) // 2 % 3
    targets = (errors / -2).astype(dtype)  # at θ = 0 the error is -2 y
    batch = Microbatch(inputs, targets, np.ones(EXAMPLES, dtype))
    differentiator = Differentiator(of, LOSSES["squared_error"], None, False)

    with np.errstate(all="ignore"):  # losses of huge targets
        sums, _, found = differentiator.sums(of.views(np.zeros(of.size, dtype)), batch)
        wide = inputs if of.takes_ids else inputs.astype(np.float64)
        right, terms = exact(of, wide, targets.astype(np.float64))

    assert np.isfinite(sums.gradient).all()
    eps = float(np.finfo(dtype).eps)
    assert (np.abs(found - right) <= 2 * np.sqrt(eps) * right + 10 * eps * terms).all()
    if kind in ("tiny", "huge"):
        assert (found > 0).all()


@pytest.mark.parametrize("apart", [3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0])
def test_long_gram_sums_of_cancelling_terms_are_right_to_1_percent(apart: float) -> None:
    """Of 64·64 products of sums of 256 products."""
    of = Network(Model.model_validate({"layers": [{**WIDE, "out_features": 256}]}), (64, 256))
    random = np.random.default_rng(0)
    inputs = 1 + apart * random.normal(size=(EXAMPLES, 64, 256))
    errors = (-1.0) ** np.arange(64)[:, None] * random.uniform(0.9, 1.1, (EXAMPLES, 1, 256))
    batch = Microbatch(
        inputs.astype("f4"), (errors / -2).reshape(EXAMPLES, -1).astype("f4"), np.ones(4, "f4")
    )
    _, _, found = Differentiator(of, LOSSES["squared_error"], None, False).sums(
        of.views(np.zeros(of.size, "f4")), batch
    )
    right, _ = exact(of, batch.inputs.astype("f8"), batch.targets.astype("f8"))
    assert found == pytest.approx(right.astype("f8"), rel=0.01)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e-42), ("float32", 3e38)])
def test_norms_at_the_ends_of_a_type(dtype: str, size: float) -> None:
    vectors = np.full((2, 5000), size, dtype)

    assert norms(vectors) == pytest.approx(np.float64(vectors[0, 0]) * np.sqrt(5000), rel=1e-6)


@pytest.mark.parametrize("long", ["inputs", "error"])
def test_long_factors_lose_no_digits(long: str) -> None:
    """In one float32 accumulator the sum would lose a digit for each factor of ten."""
    vectors = {"inputs": np.ones((1, 1), np.float32), "error": np.ones((1, 1), np.float32)}
    vectors[long] = np.full((1, 1 << 20), 1.1, np.float32)
    found = np.zeros(1)
    linear_norms(vectors["inputs"], vectors["error"], False, found)
    assert found[0] == pytest.approx(float(np.float32(1.1)) ** 2 * (1 << 20), rel=1e-6)


def test_norms_at_the_ends_of_float64() -> None:
    assert norm(np.array([5e-324, 0, 0])) == 5e-324
    assert norm(np.array([3e-200, 4e-200])) == pytest.approx(5e-200, rel=1e-15)
    assert norm(np.array([3e200, -4e200])) == pytest.approx(5e200, rel=1e-15)
    assert norm(np.array([1e308, 1.7e308])) == np.finfo(np.float64).max  # finite numbers
    assert norm(np.array([1.0, np.inf])) == norm(np.array([np.nan, 1.0])) == np.inf
    assert norm(np.zeros(3)) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_example_that_is_not_finite_has_no_finite_norm(dtype: str) -> None:
    of = Network(Model.model_validate({"layers": [WIDE]}), (6, 30))
    inputs = np.ones((3, 6, 30), dtype)
    inputs[1, 2, 3] = np.inf
    batch = Microbatch(inputs, np.ones((3, 240), dtype), np.ones(3, dtype))

    with np.errstate(all="ignore"):
        _, _, found = Differentiator(of, LOSSES["squared_error"], None, False).sums(
            of.views(np.ones(of.size, dtype)), batch
        )

    assert np.isfinite(found).tolist() == [True, False, True]


@pytest.mark.parametrize("shape", [(30,), (6, 30)])
def test_a_gradient_that_overflows_is_told_from_one_whose_norm_does(shape: Any) -> None:
    """Its factors are finite, and so is the product of their norms in float64."""
    of = Network(Model.model_validate({"layers": [WIDE]}), shape)
    inputs = np.ones((3, *shape), np.float32)
    inputs[1] = 1e20
    targets = np.full((3, of.outputs), 1e19, np.float32)
    targets[2] = 1e38 / len(shape) / 3

    with np.errstate(all="ignore"):
        _, _, found = Differentiator(of, LOSSES["squared_error"], None, False).sums(
            of.views(np.zeros(of.size, np.float32)),
            Microbatch(inputs, targets, np.array([1, 0, 1], np.float32)),
        )

    assert np.isfinite(found).tolist() == [True, False, True]
    assert found[2] > np.finfo(np.float32).max
