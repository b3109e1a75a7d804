"""Given values of parameters, trained and frozen; workers with other code are refused."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.job_directory import newest
from batchgrad_engine.preparation.job import prepare
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.module_config import BadModule
from batchgrad_workers.torch.configuring import open_module
from tests.engine.attempts import attempt, finished, rows
from tests.torch.small_modules import adapted
from tests.torch.test_jobs import HERE, spec

LORA = {"torch": "tests.torch.small_modules:adapted"}


def lora(**changes: Any) -> JobSpec:
    fields = {"model": LORA, "epochs": None, "steps": 2, "validation_fraction": 0}
    return spec(**fields | changes)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    random = np.random.default_rng(8)
    file = tmp_path / "base.safetensors"
    tensors = {"base.weight": random.normal(size=(3, 6)), "base.bias": random.normal(size=3)}
    save_file(tensors, file)
    return file


def test_given_values_of_frozen_parameters_are_used(
    dataset: Path, base: Path, tmp_path: Path
) -> None:
    messages = attempt(lora(), dataset, tmp_path / "job", code=HERE, initial_parameters=base)
    assert finished(messages).outcome == "succeeded", finished(messages)
    snapshot, _ = newest(tmp_path / "job")
    assert snapshot is not None
    assert list(snapshot.parameters) == ["down.weight", "up.weight"]

    own = prepare(lora(), DatasetSource(dataset), None, base, code=HERE)
    state = own.config.module.state if own.config.module else {}
    assert set(state) == {"base.weight", "base.bias"}
    torch.manual_seed(0)
    module = adapted({}).module.double()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
    ids = own.sampler.minibatch(0)
    batch = own.examples.rows(ids)
    losses = torch.nn.functional.cross_entropy(
        module(torch.from_numpy(batch.arrays["inputs"])),
        torch.from_numpy(batch.arrays["targets"]),
        reduction="none",
    )
    expected = float(np.average(losses.detach().numpy(), weights=own.examples.weights(ids)))
    assert rows(messages)[0].loss == pytest.approx(expected, rel=1e-12)


def test_given_values_of_trained_parameters_are_where_training_starts(
    dataset: Path, tmp_path: Path
) -> None:
    file, values = tmp_path / "up.safetensors", np.full((3, 2), 0.25)
    save_file({"up.weight": values}, file)
    job = lora(optimizer={"kind": "sgd", "learning_rate": 1e-300})
    attempt(job, dataset, tmp_path / "job", code=HERE, initial_parameters=file)
    snapshot, _ = newest(tmp_path / "job")
    assert snapshot is not None
    np.testing.assert_array_equal(snapshot.parameters["up.weight"], values)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"base.wieght": np.zeros((3, 6))}, r"base\.wieght, which the module lacks"),
        ({"base.weight": np.zeros((6, 3))}, r"shape \[6, 3\]; in the module it has \[3, 6\]"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    dataset: Path, tmp_path: Path, tensors: dict[str, Any], words: str
) -> None:
    file = tmp_path / "wrong.safetensors"
    save_file(tensors, file)
    last = finished(attempt(lora(), dataset, tmp_path / "job", code=HERE, initial_parameters=file))
    assert last.outcome == "failed"
    assert last.detail is not None
    assert re.search(words, last.detail), last.detail


@pytest.mark.parametrize("what", ["code", "torch"])
def test_a_worker_with_other_code_or_libraries_is_refused(dataset: Path, what: str) -> None:
    config = prepare(lora(), DatasetSource(dataset), None, code=HERE).config.module
    assert config is not None
    if what == "code":
        config = replace(config, source_digest="sha256:0")
    else:
        config = replace(config, build={**config.build, "torch": "1.0"})
    with pytest.raises(BadModule, match=f"another {what} than the engine"):
        open_module(
            config, precision="float64", seed=0, with_means=False, with_microbatch_means=False
        )
