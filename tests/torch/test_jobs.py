"""Jobs of PyTorch modules in the engine: steps, evaluations, checkpoints, replay."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from batchgrad.contract import JobSpec, Model
from batchgrad_engine.checkpoints.job_directory import newest
from batchgrad_engine.replay import Request, replay
from batchgrad_workers.nn.network import Network
from batchgrad_workers.user_code.sources import CodeSource
from tests.engine.attempts import ScriptedCommands, attempt, evaluations, finished, rows
from tests.torch.small_modules import residual

STACKED = "tests.torch.small_modules:stacked"
HERE = CodeSource(search_path=Path(__file__).parents[2])


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "module",
            "dataset": "small",
            "model": {"torch": "tests.torch.small_modules:residual", "config": {"width": 7}},
            "optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9},
            "batch_size": 20,
            "microbatch_size": 3,
            "epochs": 4,
            "validation_fraction": 0.1,
            "precision": "float64",
            "workers": 0,
            "threads": 1,
        }
        | changes
    )


def arrays(dataset: Path) -> list[torch.Tensor]:
    """Inputs, targets and weights."""
    names = ("inputs", "targets", "weights")
    return [torch.from_numpy(np.load(dataset / f"{name}.npy")) for name in names]


def digest(messages: Sequence[Any]) -> str:
    last = finished(messages)  # type: ignore[arg-type]
    assert last.outcome == "succeeded", last
    assert last.parameters_digest is not None
    return last.parameters_digest


def test_a_step_is_that_of_plain_pytorch(dataset: Path, tmp_path: Path) -> None:
    job = spec(epochs=None, steps=1, batch_size="full", validation_fraction=0)
    messages = attempt(job, dataset, tmp_path / "job", code=HERE)
    digest(messages)
    snapshot, _ = newest(tmp_path / "job")
    assert snapshot is not None

    torch.manual_seed(0)
    module = residual({"width": 7}).module.double()
    inputs, targets, weights = arrays(dataset)
    losses = torch.nn.functional.cross_entropy(module(inputs.double()), targets, reduction="none")
    loss = (weights * losses).sum() / weights.sum()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    loss.backward()
    optimizer.step()
    [row] = rows(messages)
    assert row.loss == pytest.approx(loss.item(), rel=1e-12)
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(
            snapshot.parameters[name], parameter.detach().numpy(), rtol=1e-10, atol=1e-13
        )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_bits_do_not_depend_on_threads_pauses_or_minibatches(
    dataset: Path, tmp_path: Path, dropout: float
) -> None:
    model = spec().model.model_copy(update={"config": {"width": 7, "dropout": dropout}})
    whole = digest(attempt(spec(model=model), dataset, tmp_path / "whole", code=HERE))
    threads = attempt(spec(model=model, threads=3), dataset, tmp_path / "threads", code=HERE)
    assert digest(threads) == whole
    paused = tmp_path / "paused"
    attempt(spec(model=model), dataset, paused, ScriptedCommands(7, "pause"), code=HERE)
    assert digest(attempt(spec(model=model), dataset, paused, code=HERE)) == whole


def test_a_job_learns_and_evaluates(dataset: Path, tmp_path: Path) -> None:
    messages = attempt(spec(epochs=20), dataset, tmp_path / "job", code=HERE)
    losses = [row.loss or 0.0 for row in rows(messages)]
    assert losses[-1] < 0.3 * losses[0]
    assert "validation_loss" in (finished(messages).detail or "")


def test_a_replay_has_the_bits_of_the_run(dataset: Path, tmp_path: Path) -> None:
    messages = attempt(spec(), dataset, tmp_path / "job", code=HERE)
    row = rows(messages)[6]
    found = replay(
        Request(
            spec=spec(),
            dataset=dataset,
            checkpoint=None,
            initial_parameters=None,
            code=HERE,
            step=row.step,
            checksum=row.gradient_checksum,
            order="share",
            limit=5,
        )
    )
    assert found.verified
    assert sum(each.share or 0 for each in found.data) != 0


def test_examples_that_are_not_finite_are_dropped(dataset: Path, tmp_path: Path) -> None:
    inputs = np.load(dataset / "inputs.npy")
    inputs[4] = np.nan
    np.save(dataset / "inputs.npy", inputs)
    job = spec(nonfinite="drop", epochs=None, steps=1, batch_size="full", validation_fraction=0)
    messages = attempt(job, dataset, tmp_path / "job", code=HERE)
    digest(messages)
    failed = finished(attempt(spec(epochs=1), dataset, tmp_path / "other", code=HERE))
    assert failed.outcome == "failed"
    assert "4" in (failed.detail or "")


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_gpt_has_the_same_bits_on_any_threads(text: Path, tmp_path: Path, dropout: float) -> None:
    model = {"torch": "tests.torch.small_modules:gpt", "config": {"dropout": dropout}}
    job = spec(model=model, precision="float32", batch_size=16, microbatch_size=4)
    whole = attempt(job, text, tmp_path / "whole", code=HERE)
    losses = [row.loss or 0.0 for row in rows(whole)]
    assert losses[-1] < losses[0]
    threads = job.model_copy(update={"threads": 2})
    assert digest(attempt(threads, text, tmp_path / "threads", code=HERE)) == digest(whole)


def test_shortcuts_are_those_of_a_network_of_layers(dataset: Path, tmp_path: Path) -> None:
    layers = {
        "layers": [
            {"kind": "linear", "out_features": 5},
            {"kind": "tanh"},
            {"kind": "linear", "out_features": 3},
        ]
    }
    job = spec(epochs=None, steps=6)
    first = attempt(
        spec(epochs=None, steps=6, model=layers, loss="softmax_cross_entropy"),
        dataset,
        tmp_path / "layers",
    )
    start = tmp_path / "layers" / "start.safetensors"
    same = job.model_copy(update={"model": job.model.model_copy(update={"torch": STACKED})})
    assert finished(first).outcome == "succeeded", finished(first)
    initial = Network(Model.model_validate(layers), (6,)).initial_parameters(0, "float64")
    save_file(Network(Model.model_validate(layers), (6,)).named(initial), start)
    second = attempt(same, dataset, tmp_path / "module", code=HERE, initial_parameters=start)
    assert finished(second).outcome == "succeeded", finished(second)
    for one, other in zip(rows(first), rows(second), strict=True):
        assert one.shortcuts.keys() == other.shortcuts.keys()
        for name, gap in one.shortcuts.items():
            found = other.shortcuts[name]
            assert found.relative_error == pytest.approx(gap.relative_error, rel=1e-9)
            assert found.cosine_similarity == pytest.approx(gap.cosine_similarity, rel=1e-9)
            names = [layer.name for layer in gap.layers or []]
            assert names == ([] if name == "mean_of_means" else ["0", "2"])
            assert [layer.name for layer in found.layers or []] == names
            for mine, theirs in zip(found.layers or [], gap.layers or [], strict=True):
                assert mine.covariance_norm == pytest.approx(theirs.covariance_norm, rel=1e-9)
                assert mine.propagation_norm == pytest.approx(
                    theirs.propagation_norm, rel=1e-9, abs=1e-12
                )


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regression_has_the_figures_of_a_network_of_layers(
    dataset: Path, tmp_path: Path, outputs: int
) -> None:
    targets = np.load(dataset / "inputs.npy")[:, :outputs] * 3 + 1
    np.save(dataset / "targets.npy", targets.astype(np.float32))
    module = {"torch": "tests.torch.small_modules:line", "config": {"outputs": outputs}}
    network = Network(
        Model.model_validate({"layers": [{"kind": "linear", "out_features": outputs}]}), (6,)
    )
    start = tmp_path / "start.safetensors"
    initial = network.named(network.initial_parameters(0, "float64"))
    save_file({name.removeprefix("0."): array for name, array in initial.items()}, start)
    layers = {"layers": [{"kind": "linear", "out_features": outputs}]}
    own = attempt(
        spec(model=module), dataset, tmp_path / "module", code=HERE, initial_parameters=start
    )
    expected = attempt(spec(model=layers, loss="squared_error"), dataset, tmp_path / "layers")
    figures, known = evaluations(own), evaluations(expected)
    assert len(figures) == len(known) == 4
    for one, other in zip(figures, known, strict=True):
        assert one.validation_r2 == pytest.approx(other.validation_r2, rel=1e-9)
        assert one.validation_rmse == pytest.approx(other.validation_rmse, rel=1e-9)
        assert one.validation_accuracy is None


@pytest.mark.parametrize(
    ("batch_size", "expected"),
    [(1, 1), (8, 4), (32, 16), (100, 25), (512, 128), (4096, 128), ("full", 128)],
)
def test_a_module_has_several_microbatches_by_default(batch_size: Any, expected: int) -> None:
    assert spec(batch_size=batch_size, microbatch_size=None).microbatch == expected
    largest = 5 if batch_size == "full" else min(5, batch_size)
    assert spec(batch_size=batch_size, microbatch_size=5).microbatch == largest
