"""The influence of examples on a step, against the mean gradient with and without them."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad.contract import Model
from batchgrad_engine.measurement.influence import chunk_size, example_influence
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.examples import NetworkExamples
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import Network
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.reduction.sums import WEIGHT

MODEL = Model.model_validate(
    {
        "layers": [
            {"kind": "linear", "out_features": 4},
            {"kind": "tanh"},
            {"kind": "linear", "out_features": 3},
        ]
    }
)
LOSS = LOSSES["softmax_cross_entropy"]
NETWORK = Network(MODEL, (5,))
TRAINED = TrainableNetwork(NETWORK, LOSS)


def examples(count: int, weights: Any = None, seed: int = 0) -> NetworkExamples:
    random = np.random.default_rng(seed)
    arrays = {"inputs": random.normal(size=(count, 5)), "targets": random.integers(0, 3, count)}
    stored = StoredDataset(arrays, None if weights is None else np.asarray(weights))
    return NetworkExamples(
        stored,
        network=NETWORK,
        loss=LOSS,
        dtype="float64",
        transform=None,
        class_weights=None,
    )


def mean_gradient(of: NetworkExamples, ids: Any, parameters: Array) -> Array:
    """G over these examples, as a step makes it."""
    sums, _, _ = TRAINED.gradient_sums(NETWORK.views(parameters), of.rows(np.asarray(ids)))
    return sums.gradient / sums.totals[WEIGHT]


THETA = NETWORK.initial_parameters(3, "float64")
WEIGHTS = st.lists(st.floats(0.01, 100), min_size=2, max_size=9)


@settings(max_examples=40)
@given(WEIGHTS, st.integers(0, 2**31), st.integers(1, 10**4))
def test_shares_of_influence_sum_to_one(weights: list[float], seed: int, chunk_bytes: int) -> None:
    of, ids = examples(len(weights), weights, seed), np.arange(len(weights))
    gradient = mean_gradient(of, ids, THETA)
    found = example_influence(TRAINED, THETA, of, ids, gradient, chunk_bytes)
    assert found.share.sum() == pytest.approx(1, rel=1e-9)


@settings(max_examples=40)
@given(WEIGHTS, st.integers(0, 2**31))
def test_leave_one_out_is_the_mean_without_it(weights: list[float], seed: int) -> None:
    of, ids = examples(len(weights), weights, seed), np.arange(len(weights))
    gradient = mean_gradient(of, ids, THETA)
    found = example_influence(TRAINED, THETA, of, ids, gradient).leave_one_out_distance
    for n in ids:
        without = mean_gradient(of, np.delete(ids, n), THETA)
        distance = np.linalg.norm(without - gradient)
        assert found[n] == pytest.approx(distance, rel=1e-7, abs=1e-12)


def test_norm_and_alignment_are_those_of_the_gradient_itself() -> None:
    of, ids = examples(6, [1.0, 2.0, 0.0, 1.0, 3.0, 1.0]), np.arange(6)
    gradient = mean_gradient(of, ids, THETA)
    found = example_influence(TRAINED, THETA, of, ids, gradient)
    for n in ids[[0, 1, 3, 4, 5]]:  # the mean of one example is its own gradient
        own = mean_gradient(of, [n], THETA)
        cosine = own @ gradient / np.linalg.norm(own) / np.linalg.norm(gradient)
        assert found.norm[n] == pytest.approx(np.linalg.norm(own))
        assert found.alignment[n] == pytest.approx(cosine)
    assert (found.share[2], found.leave_one_out_distance[2]) == (0, 0)  # weighs nothing


def test_what_is_undefined_is_not_a_number() -> None:
    of, ids = examples(3), np.arange(3)
    alone = example_influence(TRAINED, THETA, of, ids[:1], mean_gradient(of, ids[:1], THETA))
    assert np.isnan(alone.leave_one_out_distance).all()
    assert alone.share == pytest.approx([1.0])
    still = example_influence(TRAINED, THETA, of, ids, np.zeros(NETWORK.size))
    assert np.isnan(still.share).all()
    assert np.isnan(still.alignment).all()


def test_gradients_held_at_once_stay_within_the_bytes() -> None:
    gradient = np.zeros(NETWORK.size)
    each = NETWORK.size * 8 + 2 * 8 * 20  # 0.weight is the largest parameter, (4, 5)
    assert chunk_size(NETWORK, gradient, 10 * each) == 10
    assert chunk_size(NETWORK, gradient, 11 * each - 1) == 10
    assert chunk_size(NETWORK, gradient, 1) == 1


def test_memory_is_that_of_a_few_examples_gradients() -> None:
    wide = [{"kind": "linear", "out_features": width} for width in (512, 512, 10)]
    network = Network(Model.model_validate({"layers": wide}), (784,))
    random = np.random.default_rng(0)
    stored = StoredDataset(
        {"inputs": random.normal(size=(64, 784)), "targets": random.integers(0, 10, 64)}
    )
    of = NetworkExamples(
        stored,
        network=network,
        loss=LOSS,
        dtype="float32",
        transform=None,
        class_weights=None,
    )
    model = TrainableNetwork(network, LOSS)
    parameters = network.initial_parameters(0, "float32")
    tracemalloc.start()
    try:
        example_influence(model, parameters, of, np.arange(64), parameters, chunk_bytes=2**25)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**26 < 64 * parameters.nbytes / 2  # what all 64 gradients would take is 164 MiB
