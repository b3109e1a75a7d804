"""Modules train on a real private service: bits, losses, code of scripts and folders, the guide."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import batchgrad
from batchgrad import Client
from batchgrad.errors import InvalidRequest
from batchgrad.torch import load, train
from tests.docs.blocks import ROOT, blocks

ADAM = {"kind": "adam", "learning_rate": 0.01}


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.last = nn.Linear(32, 10)
        self.register_buffer("scale", torch.tensor(16.0))

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.last(torch.relu(self.first(inputs / self.scale)))
        return found


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with batchgrad.local() as client:
        yield client


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    inputs, targets = load_digits(return_X_y=True)
    return inputs[:600], targets[:600]


def net() -> nn.Module:
    torch.manual_seed(1)
    return Net()


def test_a_module_learns_in_private(client: Client, digits: tuple[Any, Any]) -> None:
    trained = train(
        net(), *digits, loss="cross_entropy", optimizer=ADAM, batch_size=100, steps=5,
        client=client, privacy={"delta": 1e-5, "noise_multiplier": 1.0, "clip_norm": 1.0},
    )  # fmt: skip
    assert trained.suspects == []
    spent = trained.history["epsilon"]
    assert 0 < spent[0] <= spent[-1]
    assert trained.history["loss"] == [None] * 5


def test_a_module_learns_with_the_same_bits(client: Client, digits: tuple[Any, Any]) -> None:
    module = net()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    keys: dict[str, Any] = {"loss": "cross_entropy", "batch_size": 100, "epochs": 4}
    trained, again = (
        train(
            module, *digits, optimizer=ADAM, validation_fraction=0.2, client=client, **keys,
            workers=workers,
        )
        for workers in (0, 1)
    )  # fmt: skip
    assert all(torch.equal(each, before[name]) for name, each in module.state_dict().items())
    assert trained.job.parameters_digest == again.job.parameters_digest
    for name, each in trained.module.state_dict().items():
        assert torch.equal(each, again.module.state_dict()[name])
        assert torch.equal(each, before[name]) == (name == "scale")
    losses = trained.history["loss"]
    assert len(losses) == 20  # five steps in each of four epochs
    assert losses[-1] < losses[0] / 2
    assert trained.job.validation_accuracy is not None
    assert trained.job.validation_accuracy > 0.8
    largest = [each.mean_loss for each in trained.suspects]
    assert len(largest) == 100
    assert largest == sorted(largest, key=lambda loss: -(loss or 0))


def test_the_first_step_is_that_of_plain_torch(client: Client, digits: tuple[Any, Any]) -> None:
    module = net().double()
    rate = 0.5
    trained = train(
        module,
        *digits,
        loss="cross_entropy",
        optimizer={"kind": "sgd", "learning_rate": rate},
        batch_size="full",
        steps=1,
        client=client,
        progress=False,
    )
    inputs, targets = torch.tensor(digits[0]), torch.tensor(digits[1])
    nn.functional.cross_entropy(module(inputs), targets).backward()
    for name, each in module.named_parameters():
        found = trained.module.get_parameter(name)
        torch.testing.assert_close(found, each - rate * each.grad, rtol=1e-9, atol=1e-12)


def test_frozen_parameters_stay_and_a_job_fills_a_module(
    client: Client, digits: tuple[Any, Any]
) -> None:
    module: Any = net()
    module.first.requires_grad_(requires_grad=False)
    trained = train(
        module, *digits, loss="cross_entropy", optimizer=ADAM, batch_size=200, steps=2,
        client=client, progress=False,
    )  # fmt: skip
    assert torch.equal(trained.module.get_parameter("first.weight"), module.first.weight)
    assert not torch.equal(trained.module.get_parameter("last.weight"), module.last.weight)
    other = load(module, trained.job)
    assert torch.equal(other.last.weight, trained.module.get_parameter("last.weight"))


def test_a_module_that_mixes_examples_is_refused(client: Client, digits: tuple[Any, Any]) -> None:
    module = nn.Sequential(nn.Linear(64, 10), nn.BatchNorm1d(10))
    keys: dict[str, Any] = {"loss": "cross_entropy", "optimizer": ADAM, "batch_size": 200}
    with pytest.raises(
        InvalidRequest, match=r"BatchNorm.*GroupNorm.*eval\(\) of this module alone"
    ):
        train(module, *digits, **keys, steps=2, client=client)
    module[1].eval()
    trained = train(module, *digits, **keys, steps=2, client=client)
    assert trained.job.status == "succeeded"
    assert len(repr(trained)) < 5000, "the lists of all steps would fill a notebook"


SCRIPT = """
import torch
from sklearn.datasets import load_digits
from torch import nn
from batchgrad.torch import train
from shapes import WIDTH

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 10))

    def forward(self, inputs):
        return super_logits(self.layers, inputs)

def super_logits(layers, inputs):
    return layers(inputs / 16)

if __name__ == "__main__":
    torch.manual_seed(2)
    inputs, targets = load_digits(return_X_y=True)
    done = train(Net(), inputs[:200], targets[:200], loss=lambda f, y: nn.functional.cross_entropy(
        f, y, reduction="none"), batch_size=50, steps=STEPS,
        optimizer={"kind": "sgd", "learning_rate": 0.1})
    print(done.job.parameters_digest, done.job.status)
"""


def script(folder: Path, steps: int) -> list[str]:
    folder.mkdir()
    (folder / "shapes.py").write_text("WIDTH = 8\n")
    (folder / "train.py").write_text(SCRIPT.replace("STEPS", str(steps)))
    return [sys.executable, "train.py"]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_script_trains_its_own_class_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    done = subprocess.run(
        script(folder, 3),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"sha256:[0-9a-f]{64} succeeded\n", done.stdout)
    assert "succeeded" in done.stderr  # the progress
    assert not list(folder.glob("batchgrad-*"))


def test_an_interrupt_ends_all(tmp_path: Path) -> None:
    command, folder = script(tmp_path / "1", 10_000_000), tmp_path / "1"
    heard = ["env", "--default-signal=INT", *command]  # a shell's background ignores it
    with subprocess.Popen(
        heard, cwd=folder, env=environment(folder), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("running"))
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == -signal.SIGINT, line + rest
    assert rest.rstrip().endswith("KeyboardInterrupt")
    until = time.monotonic() + 30
    while list(folder.glob("batchgrad-*")) and time.monotonic() < until:
        time.sleep(0.1)
    assert not list(folder.glob("batchgrad-*"))


def test_the_page_of_the_guide_runs(tmp_path: Path) -> None:
    """Its blocks, in order, in one session; commands between them."""
    parts = ["import subprocess"]
    for block in blocks((ROOT / "docs/how-to/pytorch.md").read_text("utf-8")):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        elif block.language == "python":
            parts.append(block.text)
        else:
            run = "subprocess.run(['bash', '-ec', {!r}], check=True)"
            parts += [run.format(command.line) for command in block.commands]
    assert len(parts) == 6
    (tmp_path / "page.py").write_text("\n\n".join(parts))
    tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env={**os.environ, **tools, "TMPDIR": tempfile.gettempdir(), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accuracy, loss = (float(line) for line in done.stdout.splitlines()[:2])
    assert accuracy > 0.9
    assert 0 < loss < 4
