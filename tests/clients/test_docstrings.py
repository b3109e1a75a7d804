"""Docstrings that Python has dropped are restored from the source."""

import inspect
from typing import Any

import pytest

from batchgrad.cli import data
from batchgrad.cli.app import app
from batchgrad.contract.model import Conv2d
from batchgrad.contract.wire import Wire
from batchgrad.display.docstrings import restore, restore_in_subclasses


def commands() -> list[Any]:
    registered = [*app.registered_commands, *data.datasets.registered_commands]
    return [command.callback for command in registered]


def test_a_commands_help_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(commands()) > 15
    for command in commands():
        docstring = inspect.getdoc(command)
        monkeypatch.setattr(command, "__doc__", None)
        restore(command)
        assert inspect.getdoc(command) == docstring


def test_a_models_description_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    docstring = Conv2d.__doc__
    monkeypatch.setattr(Conv2d, "__doc__", None)
    assert "description" not in Conv2d.model_json_schema()
    restore_in_subclasses(Wire)
    assert Conv2d.__doc__ == docstring
    assert Conv2d.model_json_schema()["description"] == docstring


def test_without_a_source_nothing_changes() -> None:
    namespace: dict[str, Any] = {}
    exec("def f(): pass", namespace)  # noqa: S102 (a function without a source)
    restore(namespace["f"])
    assert namespace["f"].__doc__ is None
