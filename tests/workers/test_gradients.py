"""Sums of one microbatch: their memory, and norms that need no gradient."""

from dataclasses import fields

import numpy as np
import pytest

from batchgrad.contract import Model
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import Differentiator, GradientSums, Microbatch
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network

MODEL = Model.model_validate(
    {
        "layers": [
            {"kind": "linear", "out_features": 4, "bias": False},
            {"kind": "gelu"},
            {"kind": "linear", "out_features": 3},
            {"kind": "sigmoid"},
        ]
    }
)
NETWORK = Network(MODEL, (5,))


def microbatch(examples: int) -> tuple[Array, Microbatch]:
    random = np.random.default_rng(2)
    return random.normal(size=NETWORK.size), Microbatch(
        random.normal(size=(examples, 5)),
        random.normal(size=(examples, 3)),
        random.integers(0, 4, examples).astype(float),
    )


def differentiator() -> Differentiator:
    return Differentiator(NETWORK, LOSSES["squared_error"], MeansLayout(NETWORK), True)


def test_sums_are_those_of_the_gradients_themselves() -> None:
    theta, batch = microbatch(12)
    views = NETWORK.views(theta)

    sums, losses, norms = differentiator().sums(views, batch)
    each = differentiator().each(views, batch)

    gradients = np.concatenate([own.reshape(12, -1) for own in each.values()], axis=1)
    assert list(each) == ["0.weight", "2.weight", "2.bias"]
    assert sums.gradient == pytest.approx(batch.weights @ gradients, rel=1e-12)
    assert norms == pytest.approx(np.linalg.norm(gradients, axis=1), rel=1e-12)
    assert sums.microbatch_means == pytest.approx(sums.gradient / batch.weights.sum())
    assert sums.totals == pytest.approx([batch.weights @ losses, batch.weights.sum(), 1])


def test_inputs_and_parameters_are_left_alone() -> None:
    theta, batch = microbatch(6)
    parts = [batch.inputs, batch.targets, batch.weights]
    before = theta.copy(), *(part.copy() for part in parts)
    for part in (theta, *parts):
        part.flags.writeable = False  # as Ray and memory maps hand them over

    differentiator().sums(NETWORK.views(theta), batch)

    for part, copy in zip((theta, *parts), before, strict=True):
        assert part.tobytes() == copy.tobytes()


@pytest.mark.parametrize("writeable", [True, False])
def test_joining_adds_every_part_in_the_left_one_s_memory_if_it_may(writeable: bool) -> None:
    def sums(value: float) -> GradientSums:
        return GradientSums(*(np.full(3, value + k) for k in range(4)))

    left, right = sums(1.0), sums(10.0)
    for field in fields(left):
        getattr(left, field.name).flags.writeable = writeable

    joined = GradientSums.join(left, right)

    for k, field in enumerate(fields(joined)):
        assert getattr(joined, field.name).tolist() == [11.0 + 2 * k] * 3
        assert (getattr(joined, field.name) is getattr(left, field.name)) == writeable
    assert right.gradient.tolist() == [10.0] * 3
