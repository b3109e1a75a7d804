"""Jobs of PyTorch modules that go on: with other code, for longer, from their best parameters."""

import sys
from pathlib import Path
from typing import Any

import pytest

from batchgrad_workers.user_code.sources import CodeSource
from tests.engine.attempts import ScriptedCommands, attempt, finished, newest
from tests.torch.test_jobs import digest, spec

CODE = """
from torch import nn
from batchgrad.torch import classification

def build(config):
    return classification(nn.Sequential({layers}))
"""
PLAIN = "nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)"


class Changing:
    """A module of code in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "changing_task.py"
        self.source = CodeSource(search_path=folder)

    def write(self, layers: str) -> None:
        """Replace the code; the next import reads it."""
        self.path.write_text(CODE.format(layers=layers))
        sys.modules.pop(self.path.stem, None)


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changing:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Changing(tmp_path / "code")


def resumed(changing: Changing, dataset: Path, job: Path, layers: str) -> Any:
    """The messages of a job that is paused after 3 steps, and goes on with other layers."""
    own = spec(model={"torch": "changing_task:build"})
    changing.write(PLAIN)
    attempt(own, dataset, job, ScriptedCommands(3, "pause"), code=changing.source)
    changing.write(layers)
    return attempt(own, dataset, job, code=changing.source)


def warned(messages: Any) -> list[str]:
    """The warnings at the beginning of an attempt."""
    events = [each for each in messages if each.type == "engine_event"]
    return [each.data["detail"] for each in events if each.event == "warning"]


def test_changed_code_that_mixes_examples_is_refused(
    changing: Changing, dataset: Path, tmp_path: Path
) -> None:
    layers = "nn.Linear(6, 5), nn.BatchNorm1d(5, affine=False), nn.Linear(5, 3)"
    messages = resumed(changing, dataset, tmp_path / "job", layers)
    assert finished(messages).outcome == "failed"
    assert "BatchNorm" in (finished(messages).detail or "")


def test_changed_code_that_makes_other_calls_is_examined_again(
    changing: Changing, dataset: Path, tmp_path: Path
) -> None:
    layers = "nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 3), nn.Tanh()"
    messages = resumed(changing, dataset, tmp_path / "job", layers)
    digest(messages)
    [told] = warned(messages)
    assert "changing_task:build has changed since this job's checkpoint" in told
    snapshot = newest(tmp_path / "job")
    assert snapshot.module is not None
    assert snapshot.module["preflight"]["random"] == ["dropout"]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (PLAIN.replace("nn.Tanh()", "nn.LayerNorm(5)"), "1.weight is [5], and none in"),
        (PLAIN.replace("5", "4"), "0.weight is [4, 6], and [5, 6] in this job's"),
        (
            PLAIN.replace("nn.Linear(5, 3)", "nn.Linear(5, 3, bias=False)"),
            "2.bias is none, and [3]",
        ),
    ],
)
def test_changed_code_with_other_parameters_is_refused(
    changing: Changing, dataset: Path, tmp_path: Path, layers: str, words: str
) -> None:
    end = finished(resumed(changing, dataset, tmp_path / "job", layers))
    assert (end.outcome, end.reason) == ("failed", "bad_inputs")
    assert words in (end.detail or "")


def test_code_that_did_not_change_is_not_examined_again(
    changing: Changing, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = spec(model={"torch": "changing_task:build"})
    changing.write(PLAIN)
    attempt(own, dataset, tmp_path / "job", ScriptedCommands(3, "pause"), code=changing.source)
    monkeypatch.setattr("batchgrad_workers.torch.configuring.prepare", None)
    messages = attempt(own, dataset, tmp_path / "job", code=changing.source)
    digest(messages)
    assert not warned(messages)
