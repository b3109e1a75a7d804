"""What must hold for every kind of layer: examples do not mix, and sums are those of g_n."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from batchgrad.contract import LAYERS, Model
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import Microbatch
from batchgrad_workers.nn.layers.normalization import GroupNorm
from batchgrad_workers.nn.network import Network
from tests.workers.stacks import STACKS, differentiator, microbatch, network, rows


def test_every_kind_of_layer_is_here() -> None:
    assert {*LAYERS} == {layer["kind"] for _, layers in STACKS.values() for layer in layers}


def everything(name: str, theta: Array, batch: Microbatch) -> list[Any]:
    """Per-example losses, norms and gradients."""
    of = network(name)
    _, losses, norms = differentiator(of).sums(of.views(theta), batch)
    gradients = rows(differentiator(of).each(of.views(theta), batch))
    return [losses, norms, *(gradients[:, k] for k in range(of.size))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_perturbing_one_example_moves_no_other_by_one_bit(name: str, dtype: str) -> None:
    theta, batch = microbatch(network(name), 5, dtype)
    inputs, targets = batch.inputs.copy(), batch.targets.copy()
    inputs[3] = (inputs[3] + 1) % 5 if network(name).takes_ids else 17 * inputs[3] + 1
    targets[3] -= 2
    other = batch._replace(inputs=inputs, targets=targets)

    before, after = everything(name, theta, batch), everything(name, theta, other)

    for was, now in zip(before, after, strict=True):
        assert np.delete(was, 3).tobytes() == np.delete(now, 3).tobytes()
    assert before[0][3] != after[0][3]
    assert before[1][3] != after[1][3]


@pytest.mark.parametrize("kind", ["batch_norm", "batch_norm1d", "batchnorm2d", "sync_batch_norm"])
def test_what_mixes_examples_is_refused_with_the_reason(kind: str) -> None:
    with pytest.raises(ValidationError, match="mixes the examples of a minibatch"):
        Model.model_validate({"layers": [{"kind": kind}]})


@pytest.mark.parametrize("name", STACKS)
def test_sums_and_factored_norms_are_those_of_the_gradients_themselves(name: str) -> None:
    of = network(name)
    theta, batch = microbatch(of, 7)

    sums, losses, norms = differentiator(of).sums(of.views(theta), batch)
    gradients = rows(differentiator(of).each(of.views(theta), batch))

    weight = batch.weights.sum()
    assert sums.gradient == pytest.approx(batch.weights @ gradients, rel=1e-11, abs=1e-12)
    assert sums.microbatch_means == pytest.approx(sums.gradient / weight, rel=1e-11)
    assert sums.totals == pytest.approx([batch.weights @ losses, weight, 1])
    assert norms == pytest.approx(np.linalg.norm(gradients, axis=1), rel=1e-11)


@settings(max_examples=60, derandomize=True)
@given(st.sampled_from(sorted(STACKS)), st.integers(1, 9), st.integers(0, 2**32))
def test_shares_make_up_the_whole_and_norms_are_explicit_ones(
    name: str, examples: int, seed: int
) -> None:
    """Σ ⟨w_n g_n, G⟩ = Σw ‖G‖², in whatever way each layer has its norms."""
    of = network(name)
    theta, batch = microbatch(of, examples, seed=seed)
    batch.weights[0] += 1
    sums, _, norms = differentiator(of).sums(of.views(theta), batch)
    weight = batch.weights.sum()
    mean = sums.gradient / weight

    gradients = rows(differentiator(of).each(of.views(theta), batch))
    shares = batch.weights * (gradients @ mean)

    assert shares.sum() == pytest.approx(weight * np.dot(mean, mean), rel=1e-10, abs=1e-12)
    assert norms == pytest.approx(np.linalg.norm(gradients, axis=1), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_arguments_are_left_alone_and_the_dtype_stays(name: str, dtype: str) -> None:
    of = network(name)
    theta, batch = microbatch(of, 6, dtype)
    parts = [theta, batch.inputs, batch.targets, batch.weights]
    before = [part.copy() for part in parts]
    for part in parts:
        part.flags.writeable = False  # as Ray and memory maps hand them over

    sums, losses, norms = differentiator(of).sums(of.views(theta), batch)
    each = differentiator(of).each(of.views(theta), batch)

    found = [sums.gradient, sums.means, sums.microbatch_means, losses]
    assert norms.dtype == np.float64
    assert {array.dtype for array in (*found, *each.values())} == {np.dtype(dtype)}
    for part, copy in zip(parts, before, strict=True):
        assert part.tobytes() == copy.tobytes()
    assert list(each) == [each.name for each in of.slices]


def test_sums_from_each_gradient_are_the_same_in_several_chunks() -> None:
    """One example's gradient has 9.6 MB, so each of the three is a chunk of its own."""
    random = np.random.default_rng(3)
    of = Network(Model.model_validate({"layers": [{"kind": "layer_norm"}]}), (600_000,))
    inputs, error = random.normal(size=(2, 3, 600_000))
    weights = np.array([1.0, 0.5, 2.0])
    [layer], [out] = of.layers, of.views(np.empty(of.size))
    norms = layer.gradient_sums(inputs, error, weights, out)
    each = layer.each_gradient(inputs, error)
    for name, gradients in each.items():
        np.testing.assert_allclose(out[name], weights @ gradients, rtol=1e-12, atol=1e-12)
    expected = sum(np.square(gradients).sum(axis=1) for gradients in each.values())
    np.testing.assert_allclose(norms, expected, rtol=1e-12)


def test_errors_below_a_group_norm_sum_to_0() -> None:
    """A bias below adds them up; rounding of a common part, 1000 here, would be left over."""
    random = np.random.default_rng(0)
    layer = GroupNorm((4, 100), 2, 1e-5)
    inputs, error = (random.normal(mean, 1, (8, 4, 100)).astype("f4") for mean in (3, 1000))
    parameters = {"weight": np.ones(4, "f4"), "bias": np.zeros(4, "f4")}
    below = layer.backward(parameters, inputs, inputs, error).reshape(8, 2, -1).astype("f8")
    assert np.abs(below.sum(axis=-1)).max() < 1e-6 * np.abs(below).sum(axis=-1).min()
