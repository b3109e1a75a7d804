"""Private steps of modules: on a worker, with rows that overflow, and errors that tell no row."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from batchgrad.contract import Clipping
from batchgrad.torch import classification
from batchgrad.torch.tasks import Task
from batchgrad_engine.failures import BadInputs
from batchgrad_engine.preparation.job import prepare
from batchgrad_workers.arrays import Floats
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.module_config import BadModule
from batchgrad_workers.privacy.config import PrivateWork
from batchgrad_workers.reduction.clipping import UNCLIPPED, ClippingRule, PrivateRows
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner
from batchgrad_workers.torch.refusal import Refused
from tests.torch.clipped import by_definition
from tests.torch.test_jobs import HERE, spec
from tests.workers.jobs import joined

HOME = __name__
WEIGHTED = "tests.torch.test_module_jobs:moody"
DECIDING = "tests.torch.test_module_jobs:deciding"
DROPPING = "tests.torch.test_module_jobs:partly_frozen"


def late(config: dict[str, Any]) -> Task:
    """Fails at an example whose first number is 100."""
    del config
    task = classification(nn.Linear(6, 3))

    def outputs(module: nn.Module, batch: Any) -> Any:
        if (batch["inputs"][:, 0] == 100).any():
            raise LookupError(str(batch["inputs"][0]))
        return module(batch["inputs"])

    return replace(task, outputs=outputs)


def shared(config: dict[str, Any]) -> Task:
    """Weights that are shares of a batch's sum."""
    task = late(config)
    return replace(task, weights=lambda b: b["inputs"][:, 0].abs() / b["inputs"][:, 0].abs().sum())


def negative(config: dict[str, Any]) -> Task:
    return replace(late(config), weights=lambda b: b["inputs"][:, 0])


def boastful(config: dict[str, Any]) -> Task:
    """Says that an answer is right five times, or less than not at all, or not a number."""
    odd = (5.0, -2.0, float("nan"))
    return replace(
        late(config),
        correct=lambda outputs, _: outputs.new_tensor([odd[n % 3] for n in range(len(outputs))]),
    )


def wide(config: dict[str, Any]) -> Task:
    """Two layers with positions between them."""
    del config
    layers = nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(1), nn.Linear(6, 3)
    return classification(nn.Sequential(nn.Unflatten(1, (6, 1)), *layers))


def private(
    dataset: Path, function: str, clipping: Clipping = "flat", *, by_unit: bool = False
) -> WorkerConfig:
    made = prepare(
        spec(model={"torch": function}, validation_fraction=0, batch_size=30),
        DatasetSource(dataset),
        None,
        code=HERE,
    )
    work = PrivateWork(b"k" * 32, clipping, None, by_unit)
    return replace(made.config, private=work)


def whole(shard: ShardRunner, step: int, theta: Floats, clip: float) -> GradientSums:
    drawn = shard._sampler.draw(step, shard._config.microbatch_size)
    found = shard.gradient_sums(step, theta, 0, drawn.microbatches, clip)
    assert found.losses.size == found.norms.size == 0
    return joined([found], drawn.microbatches)


@pytest.mark.parametrize("by_unit", [False, True])
@pytest.mark.parametrize("clipping", ["flat", "automatic", "per_layer", "quantile"])
@pytest.mark.parametrize("function", [WEIGHTED, DECIDING, DROPPING, f"{HOME}:wide"])
def test_a_worker_sums_the_clipped_units_of_a_step(
    dataset: Path, function: str, clipping: Clipping, by_unit: bool
) -> None:
    np.save(dataset / "units.npy", np.arange(101) // 3)
    with closing(ShardRunner(private(dataset, function, clipping, by_unit=by_unit), 1)) as shard:
        theta = shard.model.initial_parameters(0, "float64").astype(np.float64)
        loaded: Any = shard.model.load(theta)
        for step in range(2):
            drawn = shard._sampler.draw(step, shard._config.microbatch_size)
            weights = shard._examples.weights(drawn.ids)
            named = shard.model.each(loaded, shard._batch(step, drawn.ids, None))
            rows = [named[each.name].reshape(-1, each.size) for each in shard.layout.slices]
            units = PrivateRows(weights, drawn.starts)
            each = np.concatenate(rows, 1).astype(np.float64)
            lengths = np.linalg.norm(units.unit_sums(weights[:, None] * each), axis=1)
            clip = 1.001 * float(np.median(lengths))
            expected, unclipped = by_definition(
                shard.layout, each, units, ClippingRule(clipping, clip)
            )
            found = whole(shard, step, theta, clip)
            np.testing.assert_allclose(found.gradient, expected, rtol=1e-6, atol=1e-8)
            assert found.totals[UNCLIPPED] == unclipped
            assert 0 < unclipped < len(lengths)


@pytest.mark.parametrize("by_unit", [False, True])
@pytest.mark.parametrize("function", [DECIDING, f"{HOME}:wide"])
def test_rows_that_are_not_finite_add_nothing(dataset: Path, function: str, by_unit: bool) -> None:
    with closing(ShardRunner(private(dataset, function), 1)) as shard:
        theta = shard.model.initial_parameters(0, "float64").astype(np.float64)
        loaded: Any = shard.model.load(theta)
        batch: Any = shard._examples.rows(np.arange(6))
        bad = batch.arrays["inputs"].copy()
        bad[1], bad[4, 2], bad[5, 0] = np.nan, np.inf, -np.inf
        starts = np.array([0, 2, 3, 5]) if by_unit else None
        left = np.array([2]) if by_unit else np.array([0, 2, 3])
        rule, ones = ClippingRule("flat", 0.3, 5.0), np.ones(6)

        def sums(arrays: Floats, rows: PrivateRows) -> GradientSums:
            count = len(arrays)
            own = {"inputs": arrays, "targets": batch.arrays["targets"][:count]}
            given = batch._replace(arrays=own, weights=np.ones(count))
            return shard.model.clipped_sums(loaded, given, rows, rule)

        found = sums(bad, PrivateRows(ones, starts))
        expected = shard.model.clipped_sums(
            loaded, shard._examples.rows(left), PrivateRows(np.ones(len(left))), rule
        )
        np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.totals, expected.totals, rtol=1e-9)
        nothing = sums(np.full_like(bad, np.nan), PrivateRows(ones, starts))
        assert not nothing.gradient.any()
        assert not nothing.totals.any()


def test_an_error_of_a_private_step_tells_its_line_and_no_row(dataset: Path) -> None:
    inputs = np.load(dataset / "inputs.npy")
    inputs[50, 0] = 100
    np.save(dataset / "inputs.npy", inputs)
    config = private(dataset, f"{HOME}:late")
    with closing(ShardRunner(config, 1)) as shard:
        theta = shard.model.initial_parameters(0, "float64").astype(np.float64)
        rule, loaded = ClippingRule("flat", 1.0), shard.model.load(theta)
        batch = shard._examples.rows(np.array([50]))
        with pytest.raises(BadModule) as raised:
            shard.model.clipped_sums(loaded, batch, PrivateRows(np.ones(1)), rule)
        with pytest.raises(BadModule) as evaluated:
            shard.model.evaluation_sums(loaded, batch)
    for found in (raised, evaluated):
        text = str(found.value)
        assert "test_private_modules.py, line" in text
        assert ", in outputs: LookupError. Its message may tell of private rows" in text
        assert "100" not in text
        assert found.value.__suppress_context__


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("shared", "others among other examples; expected that each follows from its own row"),
        ("negative", "the task's weight of an example is another number; expected a finite"),
    ],
)
def test_weights_that_tell_of_other_rows_are_refused(
    dataset: Path, function: str, words: str
) -> None:
    random = np.random.default_rng(4)
    np.save(dataset / "inputs.npy", random.normal(size=(3000, 6)))
    np.save(dataset / "targets.npy", random.integers(0, 3, 3000))
    np.save(dataset / "weights.npy", np.ones(3000))
    config = private(dataset, f"{HOME}:late")
    assert config.module is not None
    code = replace(
        config.module, model=config.module.model.model_copy(update={"torch": f"{HOME}:{function}"})
    )
    with pytest.raises(BadModule, match=words):
        ShardRunner(replace(config, module=code), 1)


def test_a_refusal_without_numbers_keeps_names() -> None:
    refused = Refused(
        "Module 1 or layers.0.norm (BatchNorm1d) mixes. With another example in row 3, the loss "
        "of row 0 is -1.25e-05 instead of nan, inf or 2."
    )
    assert refused.without_numbers() == (
        "Module 1 or layers.0.norm (BatchNorm1d) mixes. With another example in row …, the loss "
        "of row … is … instead of …, … or …."
    )


def test_a_module_that_mixes_is_refused_without_numbers(dataset: Path) -> None:
    job = spec(
        model={"torch": f"{HOME}:mixing"},
        privacy={"delta": 1e-5, "noise_multiplier": 1.0, "clip_norm": 1.0},
        validation_fraction=0,
    )
    with pytest.raises(BadInputs, match=r"Module 1 \(BatchNorm1d\) mixes examples") as raised:
        prepare(job, DatasetSource(dataset), None, code=HERE)
    assert "the loss of row … is … instead of …" in str(raised.value)
    cause = raised.value.__cause__
    assert cause is not None
    assert cause.__suppress_context__


def mixing(config: dict[str, Any]) -> Task:
    del config
    return classification(nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)))


def test_no_row_counts_as_more_than_one_right_answer(dataset: Path) -> None:
    made = prepare(
        spec(model={"torch": f"{HOME}:boastful"}, validation_fraction=0.3, microbatch_size=3),
        DatasetSource(dataset),
        None,
        code=HERE,
    )
    with closing(ShardRunner(made.config, 1)) as shard:
        theta = shard.model.initial_parameters(0, "float32")
        count = -(-len(made.evaluated.rows) // 3)
        found = shard.evaluation_sums(theta, 0, count)
    right = sum(node.sum[2] for node in found.nodes)
    assert right == count
