"""The generated parts of the guide's reference are complete: nothing public is left out."""

import re

import pytest
import typer

import batchgrad
from batchgrad import contract
from batchgrad.cli.app import app
from docs.generate.commands import commands
from docs.generate.http import described, http
from docs.generate.python import python
from docs.generate.spec import gradients, spec


@pytest.mark.parametrize("names", ["LAYERS", "OPTIMIZERS", "SCHEDULES"])
def test_every_kind_has_a_section_with_its_keys(names: str) -> None:
    sections = dict(
        re.findall(r"^### `(\w+)`\n\n(.*?)(?=^##|\Z)", spec(), re.DOTALL | re.MULTILINE)
    )
    for kind, model in getattr(contract, names).items():
        assert model.__doc__.splitlines()[0] in sections[kind]
        keys = set(model.model_fields) - {"kind"}
        assert set(re.findall(r"^- `(\w+)`:", sections[kind], re.MULTILINE)) == keys


def test_every_key_loss_and_figure_is_listed() -> None:
    text = spec()
    for name in (
        *contract.JobSpec.model_fields,
        *contract.LOSSES,
        *contract.FIGURES,
        *contract.VALIDATION_FIGURES,
    ):
        assert f"`{name}`" in text
    parts = (contract.EarlyStopping, contract.InitialParameters, contract.WorkerRange)
    for name in {key for part in parts for key in part.model_fields}:
        assert f"- `{name}`:" in text
    assert all(kind.formula.replace("|", "\\|") in text for kind in contract.LOSSES.values())
    assert all(f"- `{name}`:" in gradients() for name in contract.GradientsRequest.model_fields)


def test_every_command_and_option_is_listed() -> None:
    text, root = commands(), typer.main.get_command(app)
    groups = [("batchgrad", root)]
    for path, group in groups:
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            section = re.search(
                rf"^##+ `{path} {name}`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
            )
            assert section, name
            for option in command.params:
                if option.opts[0].startswith("--") and not option.hidden:
                    assert option.opts[0] in section[1]
            if hasattr(command, "commands"):
                groups.append((f"{path} {name}", command))
    assert len(re.findall("^##", text, re.MULTILINE)) > 20


def test_every_route_and_schema_is_listed() -> None:
    text, openapi = http(), described()
    for path, operations in openapi["paths"].items():
        for method in operations:
            assert f"### `{method.upper()} {path}`" in text
    anchors = set(re.findall(r'<a id="(\w+)">', text))
    assert anchors == set(openapi["components"]["schemas"])
    assert set(re.findall(r'href="#(\w+)"', text)) <= anchors


def test_every_public_name_is_listed() -> None:
    text = python()
    assert [name for name in batchgrad.__all__ if f"`{name}`" not in text] == []
    assert "(hidden_layer_sizes: Iterable[int] = (100,), activation: str = 'relu', *, " in text
    for name in dir(batchgrad.Client):
        assert name.startswith("_") or f"#### `Client.{name}`" in text


def test_estimators_have_their_own_methods_and_their_parameters_as_a_list() -> None:
    text = python().partition("## `batchgrad.sklearn`")[2]
    assert "#### `BatchgradClassifier.predict_proba`" in text
    assert "get_metadata_routing" not in text
    assert "**Args**\n\n- `hidden_layer_sizes`: outputs of" in text
    assert "\n- `epochs`: passes over" in text
    assert "\n**Raises**\n\n- `InvalidArgument`: " in text
