"""Figures have the same bits for any number of buffered steps, and are sent completely."""

import json
from contextlib import closing
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import StepRow
from batchgrad_engine.checkpoints.example_ledger import Ledger
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.measurement.measuring import Measured
from batchgrad_engine.measurement.statistics import SmoothedNoise, noise_scales
from batchgrad_engine.messages import (
    EngineMessage,
    Observed,
    Report,
    SentReport,
    encode,
)
from batchgrad_engine.preparation.job import prepare
from batchgrad_engine.reporter import Reporter
from batchgrad_engine.step_columns import row_at, rows_of
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.runtime.threads import ThreadPool
from tests.engine.norms_of_rows import norms_of
from tests.engine.small_job import spec


def measured(dataset: Path, buffered_steps: int, **changes: Any) -> list[Measured]:
    """All steps of the small job."""
    prepared = prepare(spec(**changes), DatasetSource(dataset), None)
    with closing(InlineExecutor(prepared.config, 1)) as executor, ThreadPool(1) as pool:
        coordinator = prepared.coordinator(
            executor, pool, None, None, buffered_steps=buffered_steps
        )
        for step in range(prepared.steps_planned):
            coordinator.step(step)
        return coordinator.measured()


def linear(out: int, **more: Any) -> dict[str, Any]:
    return {"kind": "linear", "out_features": out, **more}


STACKS: dict[str, list[dict[str, Any]]] = {
    "tanh": [linear(5), {"kind": "tanh"}, linear(3)],
    "gelu, no bias": [linear(6, bias=False), {"kind": "gelu"}, linear(3, bias=False)],
    "smooth": [linear(9), {"kind": "softplus"}, linear(4), {"kind": "sigmoid"}, linear(3)],
    "normalized": [linear(8), {"kind": "layer_norm"}, {"kind": "silu"}, linear(3)],
}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("stack", STACKS)
def test_same_figures_one_by_one_and_many_at_once(
    dataset: Path, stack: str, precision: str
) -> None:
    changes = {"model": {"layers": STACKS[stack]}, "precision": precision}
    if stack != "tanh":  # else there are weights, and mean_of_means is measured too
        (dataset / "weights.npy").unlink()
    single = measured(dataset, 1, **changes)
    assert len(single) == 20
    for buffered_steps in (3, 64):
        several = measured(dataset, buffered_steps, **changes)
        assert len(several) < 20  # the last minibatch of an epoch is short, and waits apart
        assert [f for each in several for f in rows_of(each.columns)] == [
            f for each in single for f in rows_of(each.columns)
        ]
        for name in ("ids", "losses", "norms"):
            columns = [np.concatenate([getattr(m, name) for m in of]) for of in (single, several)]
            assert columns[0].tobytes() == columns[1].tobytes()


def test_the_noise_scale_of_a_row_is_smoothed_by_the_fraction_of_a_full_minibatch(
    dataset: Path,
) -> None:
    (dataset / "weights.npy").unlink()
    smoothed = SmoothedNoise()
    for several in measured(dataset, 64):
        norms = several.norms.reshape(len(rows_of(several.columns)), -1)
        sizes = [row["gradient_norm"] for row in rows_of(several.columns)]
        noises = noise_scales(norms, np.ones(norms.shape), sizes)
        part = norms.shape[1] / 20
        expected = [smoothed.add(noise, part).simple for noise in noises]
        assert [row["noise_scale"] for row in rows_of(several.columns)] == expected
    assert smoothed.add(noises[-1], 0.0) != noises[-1]


def test_large_steps_do_not_wait(dataset: Path) -> None:
    model = {"layers": [linear(80_000), {"kind": "relu"}, linear(3)]}
    assert len(measured(dataset, 64, model=model, epochs=1)) == 5


def test_steps_with_large_means_do_not_wait(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    np.save(tmp_path / "inputs.npy", random.integers(0, 100, (40, 1000)))
    np.save(tmp_path / "targets.npy", random.integers(0, 3, 40))
    embedding = {"kind": "embedding", "num_embeddings": 100, "embedding_dim": 1}
    model = {"layers": [embedding, {"kind": "flatten"}, linear(3)]}  # 3,103 parameters
    several = measured(tmp_path, 64, model=model, batch_size=10, epochs=3, standardize=False)
    assert (
        max(len(rows_of(each.columns)) for each in several) == 2
    )  # 3 MiB for 100,000 means of each


def test_nothing_is_measured_for_a_replay(dataset: Path) -> None:
    assert measured(dataset, 0) == []


def test_steps_without_weight_are_apart_and_have_no_loss(dataset: Path) -> None:
    """All that is left of a minibatch weighs nothing beside what was dropped from it."""
    weights, inputs = np.ones(101), np.load(dataset / "inputs.npy")
    weights[:7], inputs[:7], inputs[20:27] = 1e60, np.inf, np.inf
    np.save(dataset / "weights.npy", weights)
    np.save(dataset / "inputs.npy", inputs)
    changes: dict[str, Any] = {"nonfinite": "drop", "standardize": False, "batch_size": 7}
    figures = [f for each in measured(dataset, 64, **changes) for f in rows_of(each.columns)]
    without = [f for f in figures if f["loss"] is None]
    assert 0 < len(without) < len(figures)
    for each in figures:
        assert (each["shortcuts"] == {}) == (each["loss"] is None)
        assert (each["gradient_norm"] == 0) == (each["loss"] is None)


def test_a_row_travels_whole_and_what_is_undefined_is_null(dataset: Path) -> None:
    sent: list[Any] = []
    prepared = prepare(spec(), DatasetSource(dataset), None)
    with closing(InlineExecutor(prepared.config, 1)) as executor, ThreadPool(1) as pool:
        coordinator = prepared.coordinator(executor, pool, None, None)
        reporter = Reporter(sent.append, executor)
        coordinator.step(0)
        (first,) = coordinator.measured()
        shortcut = first.columns["shortcuts"]["averaged_error"]
        shortcut["cosine_similarity"] = (nan, *shortcut["cosine_similarity"][1:])
        reporter.add(first)
        reporter.flush()
    assert isinstance(sent[0], SentReport)
    line = encode(sent[0])
    assert json.loads(line)["steps"][0].keys() == StepRow.model_fields.keys() - {"epsilon"}
    heard = EngineMessage.validate_json(line)
    assert isinstance(heard, Report)
    row = StepRow.model_validate(row_at(heard.steps[0], 0))
    assert row.gradient_checksum == row_at(first.columns, 0)["gradient_checksum"]
    assert norms_of(row).histogram == first.histogram.tolist()
    assert sum(norms_of(row).histogram) == heard.observed.examples == 20
    assert row.shortcuts["averaged_error"].cosine_similarity is None
    assert row.shortcuts["averaged_error"].layers is not None
    assert set(row.phases) == {"shard", "compute", "reduce", "compare", "update"}
    assert isinstance(sent[0].observed, Observed)


def test_ledger_of_several_steps_is_that_of_each_in_turn() -> None:
    random = np.random.default_rng(3)
    ids = np.stack([random.permutation(30)[:8] for _ in range(50)])
    losses, norms = random.normal(size=(2, 50, 8)).astype(np.float32)
    at_once, by_step = Ledger(30), Ledger(30)
    at_once.add(ids.reshape(-1), losses.reshape(-1), norms.reshape(-1))
    for step in range(50):
        by_step.add(ids[step], losses[step], norms[step])
    for name, column in by_step.state().items():
        assert column.tobytes() == at_once.state()[name].tobytes()
    assert by_step.state()["last_loss"][ids[-1]].tolist() == losses[-1].tolist()
