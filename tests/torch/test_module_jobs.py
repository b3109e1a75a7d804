"""Jobs of PyTorch modules end to end: steps against plain PyTorch, ends, and what is replayed."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from batchgrad.contract import Model
from batchgrad.torch import classification
from batchgrad.torch.tasks import Task
from batchgrad_engine.checkpoints import checkpoints
from batchgrad_engine.replay import Request, replay
from batchgrad_workers.nn.network import Network
from tests.engine.attempts import (
    ScriptedCommands,
    attempt,
    bits,
    evaluations,
    finished,
    newest,
    rows,
    warnings,
)
from tests.torch.test_jobs import HERE, STACKED, digest, spec

STEPS = 5
HOME = __name__
DECIDING, PARTLY_FROZEN = f"{HOME}:deciding", f"{HOME}:partly_frozen"


class Deciding(nn.Module):  # type: ignore[misc]
    """Takes one of two heads for each example, by its numbers: one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        heads = [self.one if row[0].item() > 0 else self.other for row in inputs]
        return torch.stack([head(row) for head, row in zip(heads, inputs, strict=True)])


def deciding(config: dict[str, Any]) -> Task:
    del config
    return classification(Deciding())


def partly_frozen(config: dict[str, Any]) -> Task:
    """Dropout behind a frozen layer, and a frozen bias of a trained one."""
    del config
    module = nn.Sequential(
        nn.Linear(6, 9), nn.Tanh(), nn.Dropout(0.4), nn.Linear(9, 3), nn.Dropout(0.1)
    )
    module[0].requires_grad_(requires_grad=False)
    module[3].bias.requires_grad_(requires_grad=False)
    return classification(module)


class Moody(nn.Module):  # type: ignore[misc]
    """Gives scores in training mode, and zeros in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scores(inputs) * self.training


def moody(config: dict[str, Any]) -> Task:
    """Examples with a negative first number weigh nothing."""
    del config
    task = classification(Moody())
    return replace(task, weights=lambda batch: (batch["inputs"][:, 0] > 0).double())


def plain_pytorch(dataset: Path, build: Callable[[Any], Task], clip: float | None) -> nn.Module:
    """The module after STEPS steps over all examples, in a loop of PyTorch."""
    torch.manual_seed(0)
    module = build({}).module.double()
    inputs, targets, weights = (
        torch.from_numpy(np.load(dataset / f"{name}.npy"))
        for name in ("inputs", "targets", "weights")
    )
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        losses = torch.nn.functional.cross_entropy(
            module(inputs.double()), targets, reduction="none"
        )
        optimizer.zero_grad()
        ((weights * losses).sum() / weights.sum()).backward()
        if clip is not None:
            gradients = [each.grad for each in module.parameters()]
            norm = torch.cat([each.flatten() for each in gradients]).norm()
            for each in gradients:
                each.mul_((clip / norm).clamp(max=1))  # torch's own adds 1e-6 to the norm
        optimizer.step()
    return module


@pytest.mark.parametrize("microbatch", [1, 7, 101])
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("name", [STACKED, DECIDING])
def test_steps_are_those_of_a_loop(
    dataset: Path, tmp_path: Path, name: str, clip: float | None, microbatch: int
) -> None:
    weights = np.load(dataset / "weights.npy")
    weights[[0, 3, 100]] = 0
    np.save(dataset / "weights.npy", weights)
    optimizer = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "clip_norm": clip}
    job = spec(
        model={"torch": name},
        epochs=None,
        steps=STEPS,
        batch_size="full",
        microbatch_size=microbatch,
        validation_fraction=0,
        optimizer=optimizer,
    )
    digest(attempt(job, dataset, tmp_path / "job", code=HERE))
    found = newest(tmp_path / "job").parameters
    build = deciding if name == DECIDING else small_stacked
    for parameter, tensor in plain_pytorch(dataset, build, clip).named_parameters():
        expected = tensor.detach().numpy()
        np.testing.assert_allclose(found[parameter], expected, rtol=1e-9, atol=1e-12)


def small_stacked(config: dict[str, Any]) -> Task:
    """The task of STACKED."""
    del config
    return classification(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)))


@pytest.mark.parametrize("update", ["averaged_error", "mean_example", "mean_of_means"])
def test_updates_along_a_shortcut_are_those_of_a_network_of_layers(
    dataset: Path, tmp_path: Path, update: str
) -> None:
    (dataset / "weights.npy").unlink()
    layers = Model.model_validate(
        {
            "layers": [
                {"kind": "linear", "out_features": 5},
                {"kind": "tanh"},
                {"kind": "linear", "out_features": 3},
            ]
        }
    )
    network = Network(layers, (6,))
    save_file(network.named(network.initial_parameters(0, "float64")), tmp_path / "start")
    changes: dict[str, Any] = {"update": update, "epochs": None, "steps": 12}
    own = spec(model={"torch": STACKED}, **changes)
    digest(
        attempt(own, dataset, tmp_path / "own", code=HERE, initial_parameters=tmp_path / "start")
    )
    other = spec(model=layers.model_dump(), loss="softmax_cross_entropy", **changes)
    attempt(other, dataset, tmp_path / "other")
    found, expected = (newest(tmp_path / name).parameters for name in ("own", "other"))
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-8, atol=1e-11)


def test_broken_examples_are_dropped_from_a_microbatch(dataset: Path, tmp_path: Path) -> None:
    """As if their weight were 0: of one number too large, and of one that is none."""
    inputs, weights = np.load(dataset / "inputs.npy"), np.load(dataset / "weights.npy")
    inputs[4], inputs[5, 2] = np.nan, np.inf
    np.save(dataset / "inputs.npy", inputs)
    job = spec(
        model={"torch": STACKED},
        nonfinite="drop",
        epochs=None,
        steps=STEPS,
        batch_size="full",
        validation_fraction=0,
        microbatch_size=2,
    )
    messages = attempt(job, dataset, tmp_path / "drop", code=HERE)
    digest(messages)
    assert any("4" in text for text in warnings(messages))
    weights[[4, 5]] = 0
    np.save(dataset / "weights.npy", weights)
    np.save(dataset / "inputs.npy", np.nan_to_num(inputs, posinf=0))
    digest(attempt(job, dataset, tmp_path / "zero", code=HERE))
    found, expected = (newest(tmp_path / name).parameters for name in ("drop", "zero"))
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("microbatch", [1, 20])
def test_dropout_before_frozen_parts_is_replayed_from_any_checkpoint(
    dataset: Path, tmp_path: Path, microbatch: int
) -> None:
    job = spec(model={"torch": PARTLY_FROZEN}, microbatch_size=microbatch)
    first = attempt(job, dataset, tmp_path / "job", ScriptedCommands(6, "pause"), code=HERE)
    [paused] = (tmp_path / "job").rglob("step-*.safetensors")
    messages = [*first, *attempt(job, dataset, tmp_path / "job", code=HERE)]
    assert set(checkpoints.read(paused).parameters) == {"3.weight"}
    for step, checkpoint in ((3, None), (9, None), (9, paused)):
        row = rows(messages)[step - 1]
        assert row.step == step
        found = replay(
            Request(
                spec=job,
                dataset=dataset,
                checkpoint=checkpoint,
                initial_parameters=None,
                code=HERE,
                step=step,
                checksum=row.gradient_checksum,
                order="share",
                limit=20,
            )
        )
        assert found.verified
        assert sum(each.share or 0 for each in found.data) == pytest.approx(1, abs=1e-9)


def test_a_lengthened_job_has_the_bits_of_a_longer_one(dataset: Path, tmp_path: Path) -> None:
    own = spec(model={"torch": PARTLY_FROZEN})
    whole = attempt(own, dataset, tmp_path / "whole", code=HERE)
    short = own.model_copy(update={"epochs": 2})
    attempt(short, dataset, tmp_path / "job", code=HERE)
    step = newest(tmp_path / "job").step
    again = attempt(own, dataset, tmp_path / "job", code=HERE, lengthened_step=step)
    assert bits(again) == bits(whole)


def test_stopping_early_keeps_the_parameters_of_the_best_evaluation(
    dataset: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    np.save(dataset / "targets.npy", random.integers(0, 3, 101))  # noise: it gets worse
    job = spec(
        epochs=60,
        keep="best",
        validation_fraction=0.3,
        early_stopping={"patience": 3},
        optimizer={"kind": "sgd", "learning_rate": 0.5, "momentum": 0.9},
    )
    messages = attempt(job, dataset, tmp_path / "job", code=HERE)
    losses = [each.validation_loss for each in evaluations(messages)]
    best = int(np.argmin(np.array(losses, float)))
    assert len(losses) == best + 4
    kept = newest(tmp_path / "job").best
    assert kept is not None
    assert finished(messages).parameters_digest == kept.evaluation.parameters_digest
    shorter = job.model_copy(update={"epochs": best + 1})
    attempt(shorter, dataset, tmp_path / "shorter", code=HERE)
    for name, array in newest(tmp_path / "shorter").parameters.items():
        np.testing.assert_array_equal(kept.parameters[name], array)


def test_evaluations_are_in_evaluation_mode_and_some_examples_weigh_nothing(
    dataset: Path, tmp_path: Path
) -> None:
    job = spec(model={"torch": f"{HOME}:moody"}, epochs=2, microbatch_size=4)
    messages = attempt(job, dataset, tmp_path / "job", code=HERE)
    digest(messages)
    present = int((np.load(dataset / "inputs.npy")[:, 0] > 0).sum())
    assert len(rows(messages)) == 2 * -(-(present - round(0.1 * present)) // 20)
    for each in evaluations(messages):
        assert each.validation_loss == pytest.approx(log(3), rel=1e-12)
    assert rows(messages)[0].loss != pytest.approx(log(3), rel=1e-3)
