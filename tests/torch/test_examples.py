"""The scripts and the package in examples/torch run as they stand, and find what they say."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from batchgrad.torch import load
from tests.docs.blocks import ROOT

EXAMPLES = ROOT / "examples" / "torch"
PACKAGE = EXAMPLES / "module_of_a_package"


def printed(folder: Path, *command: str) -> str:
    """What a command prints on stdout, run in `folder` with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(folder: Path, script: str, pattern: str) -> list[float]:
    """The numbers that a script prints where `pattern` has NUMBER."""
    output = printed(folder, str(EXAMPLES / script))
    found = re.search(pattern.replace("NUMBER", r"(\d+(?:\.\d+)?)"), output, re.DOTALL)
    assert found, output
    assert list(folder.iterdir()) == []
    return [float(number) for number in found.groups()]


def test_a_gpt_learns_characters_and_finds_spoiled_pieces(tmp_path: Path) -> None:
    first, last, found = figures(
        tmp_path,
        "character_gpt.py",
        "NUMBER at first, NUMBER at last\nit writes: the .*first 10 suspects: NUMBER",
    )
    assert 4 < first < 4.5  # the logarithm of 70 characters is 4.25
    assert last < 2.8
    assert found >= 9


def test_only_adapters_train_and_begin_at_zero(tmp_path: Path) -> None:
    before, adapted, trained, changed, numbers = figures(
        tmp_path,
        "lora.py",
        "code: NUMBER\nwith adapters of zero: NUMBER, the same outputs: True\ntrained: NUMBER\n"
        "changed: NUMBER of NUMBER numbers, the adapters alone: True",
    )
    assert before == adapted
    assert trained < before - 0.15
    # Two blocks, each with A and B of rank 4 beside 64 → 192, 64 → 64, 64 → 256 and 256 → 64.
    assert changed == 2 * 4 * (64 + 192 + 64 + 64 + 2 * (64 + 256))
    assert numbers > 10 * changed


def test_a_convolutional_network_finds_wrong_labels(tmp_path: Path) -> None:
    accuracy, found = figures(
        tmp_path, "digits_convnet.py", "true labels: NUMBER\n.*first 90 suspects: NUMBER"
    )
    assert accuracy > 0.95
    assert found >= 80


def test_an_lstm_remembers_over_any_length(tmp_path: Path) -> None:
    held_out, short, long = figures(
        tmp_path, "lstm.py", "held out .*: NUMBER\n.*short .*: NUMBER\n.*long .*: NUMBER"
    )
    assert min(held_out, short, long) > 0.95


def test_a_residual_network_stops_early_on_a_table(tmp_path: Path) -> None:
    loss, accuracy, steps, planned = figures(
        tmp_path,
        "tabular_resnet.py",
        "loss NUMBER, accuracy NUMBER on held out\nstopped after NUMBER of NUMBER steps",
    )
    assert loss < 0.2
    assert accuracy > 0.94
    assert steps < planned


def test_one_command_trains_a_module_of_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, spec = str(tmp_path / "patches.safetensors"), str(PACKAGE / "digits.yaml")
    options = ["--private", "--code", str(PACKAGE), "--to", file]
    output = printed(tmp_path, "-m", "batchgrad", "run", spec, *options)
    found = re.search(r"validation accuracy +([\d.]+)%", output)
    assert found, output
    assert float(found.group(1)) > 85
    monkeypatch.syspath_prepend(str(PACKAGE))
    built = importlib.import_module("patches.transformer").build({"width": 32, "layers": 2})
    module = load(built.module, file)
    inputs, targets = load_digits(return_X_y=True)
    with torch.no_grad():
        outputs = module(torch.tensor(inputs, dtype=torch.float32))
    assert (outputs.argmax(1) == torch.tensor(targets)).float().mean() > 0.85
