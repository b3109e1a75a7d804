"""Dropout: masks from (seed, step, example, layer) alone, their scale, and gradients under them."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from batchgrad.contract import Model
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import Microbatch
from batchgrad_workers.nn.kernels.norms import RUN
from batchgrad_workers.nn.network import Network
from batchgrad_workers.randomness import STEP, example_keys, mixed
from batchgrad_workers.runtime.shard import ShardRunner
from tests.workers.jobs import store, theta, worker_config
from tests.workers.stacks import differentiator, rows

HEAD: dict[str, Any] = {"kind": "linear", "out_features": 3}
TWICE: list[dict[str, Any]] = [
    {"kind": "dropout", "p": 0.3},
    {"kind": "tanh"},
    {"kind": "dropout", "p": 0.75},
]
DEEP: list[dict[str, Any]] = [{**HEAD, "out_features": 6}, {"kind": "tanh"}, *TWICE, HEAD]
WIDTH = 400


def masks(layers: list[dict[str, Any]], keys: Any) -> Array:
    """What `layers` make of ones, (n, 400)."""
    of = Network(Model.model_validate({"layers": layers}), (WIDTH,))
    ones = np.ones((len(keys), WIDTH))
    return of.forward(of.drawing(of.views(np.empty(0)), keys), ones)[-1]


def test_random_bits_are_those_of_splitmix64() -> None:
    """The first outputs for the seed 0, as published with the generator."""
    outputs = mixed(np.arange(1, 4, dtype=np.uint64) * STEP)
    assert [f"{each:x}" for each in outputs.tolist()] == [
        "e220a8397b1dcdaf",
        "6e789e6aa1b965f4",
        "6c45d188009454f",
    ]


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_numbers_are_dropped_with_probability_p_and_the_others_divided(p: float) -> None:
    found = masks([{"kind": "dropout", "p": p}], example_keys(3, 5, np.arange(500)))
    kept = found != 0
    assert np.unique(found[kept]).tolist() == [1 / (1 - p)]
    deviation = np.sqrt(p * (1 - p) / kept.size)
    assert abs(kept.mean() - (1 - p)) <= 4 * deviation
    for axis in (0, 1):
        spread = kept.mean(axis=axis).std()
        assert spread == pytest.approx(np.sqrt(p * (1 - p) / kept.shape[axis]), rel=0.2)


def test_masks_of_examples_steps_seeds_and_layers_are_independent() -> None:
    ids = np.arange(500)
    half: list[dict[str, Any]] = [{"kind": "dropout"}]
    base = masks(half, example_keys(3, 5, ids)) > 0
    later = [{"kind": "identity"}, *half]
    others = {
        "example": masks(half, example_keys(3, 5, ids + 1)),
        "step": masks(half, example_keys(3, 6, ids)),
        "seed": masks(half, example_keys(4, 5, ids)),
        "layer": masks(later, example_keys(3, 5, ids)),
    }
    for name, other in others.items():
        assert abs(((other > 0) == base).mean() - 0.5) < 0.005, name


def test_an_example_s_mask_does_not_depend_on_its_neighbours() -> None:
    ids = np.array([9, 2, 40, 7, 2**40])
    together = masks(TWICE, example_keys(1, 2, ids))
    for k, each in enumerate(ids):
        assert masks(TWICE, example_keys(1, 2, np.array([each])))[0].tobytes() == (
            together[k].tobytes()
        )


@pytest.mark.parametrize("shape", [(5,), (4, 5)], ids=str)
def test_gradients_are_slopes_of_the_loss_with_the_same_masks(shape: tuple[int, ...]) -> None:
    of = Network(Model.model_validate({"layers": [TWICE[0], *DEEP]}), shape)
    random = np.random.default_rng(4)
    batch = Microbatch(
        random.normal(size=(6, *shape)),
        random.normal(size=(6, of.outputs)),
        np.array([1.0, 0.5, 2.0, 1.0, 0.0, 3.0]),
        keys=example_keys(0, 3, np.arange(6)),
    )
    values, direction = random.normal(size=(2, of.size))
    own = differentiator(of)

    def losses(step: float) -> Array:
        return own.sums(of.views(values + step * direction), batch)[1]

    sums, _, norms = own.sums(of.views(values), batch)
    each = rows(own.each(of.views(values), batch))

    assert_allclose(each @ direction, (losses(1e-6) - losses(-1e-6)) / 2e-6, rtol=1e-6, atol=1e-8)
    assert_allclose(sums.gradient, batch.weights @ each, rtol=1e-11, atol=1e-12)
    assert_allclose(norms, np.linalg.norm(each, axis=1), rtol=1e-11)
    undrawn = own.sums(of.views(values), batch._replace(keys=None))[0]
    assert not np.allclose(undrawn.gradient, sums.gradient, rtol=0.01)


def test_halves_of_a_large_microbatch_keep_their_keys() -> None:
    of = Network(Model.model_validate({"layers": DEEP}), (5,))
    random = np.random.default_rng(5)
    batch = Microbatch(
        random.normal(size=(2 * RUN, 5)),
        random.normal(size=(2 * RUN, of.outputs)),
        np.ones(2 * RUN),
        keys=example_keys(0, 3, np.arange(2 * RUN)),
    )
    assert batch.keys is not None
    views = of.views(random.normal(size=of.size))
    losses = differentiator(of).sums(views, batch)[1]
    last = Microbatch(batch.inputs[-3:], batch.targets[-3:], np.ones(3), keys=batch.keys[-3:])
    assert_allclose(losses[-3:], differentiator(of).sums(views, last)[1], rtol=1e-12)


def test_images_in_any_order_of_memory_have_the_same_masks() -> None:
    of = Network(Model.model_validate({"layers": [{"kind": "dropout"}]}), (3, 4, 5))
    views = of.drawing(of.views(np.empty(0)), example_keys(0, 0, np.arange(2)))
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    moved = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert of.forward(views, images)[-1].tobytes() == of.forward(views, moved)[-1].tobytes()


def test_an_evaluation_drops_nothing(tmp_path: Path) -> None:
    store(tmp_path)
    plain = [layer for layer in DEEP if layer["kind"] != "dropout"]
    found = {}
    for name, layers in (("dropout", DEEP), ("none", plain)):
        of = worker_config(tmp_path, model=Model.model_validate({"layers": layers}))
        with closing(ShardRunner(of, 1)) as shard:
            parameters = theta(of)
            sums = shard.evaluation_sums(parameters, 0, 1).nodes[0].sum
            found[name] = sums.tobytes(), shard.gradient_sums(0, parameters, 0, 1).losses.tobytes()
    assert found["dropout"][0] == found["none"][0]
    assert found["dropout"][1] != found["none"][1]
