"""A first spec for a dataset: what it holds for each kind of data, and that it is valid."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from batchgrad.contract import Dataset, JobSpec, Linear
from batchgrad.display.data.starter_spec import starter_spec
from batchgrad.parsing.spec_files import load_job, parse_job


def spec(kit: Any, hidden: Sequence[int] | None = None, **changes: Any) -> JobSpec:
    return parse_job(starter_spec(Dataset.model_validate({**kit.DATASET, **changes}), hidden))


def kinds(of: JobSpec) -> list[str]:
    return [layer.kind for layer in of.model.layers]


def widths(of: JobSpec) -> list[int]:
    return [layer.out_features for layer in of.model.layers if isinstance(layer, Linear)]


def table(*columns: dict[str, Any], classes: list[str] | None = None) -> dict[str, Any]:
    return {
        "columns": [{"kind": "number", "missing": 0, **column} for column in columns],
        "classes": classes,
    }


def test_classes(kit: Any) -> None:
    found = spec(kit, examples=1500)
    assert kinds(found) == ["linear", "relu", "linear"]
    assert widths(found) == [32, 10]
    assert found.loss == "softmax_cross_entropy"
    assert found.standardize
    assert found.validation is not None
    assert found.validation.stratify
    assert found.epochs == 30


def test_hidden_layers(kit: Any) -> None:
    found = spec(kit, (64, 16))
    assert widths(found) == [64, 16, 10]
    assert kinds(spec(kit, ())) == ["linear"]


@pytest.mark.parametrize(
    ("highest", "rate", "layers"), [(8.0, 0.01, 3), (None, 0.01, 3), (500_000.0, 10_000.0, 1)]
)
def test_numbers(kit: Any, highest: float | None, rate: float, layers: int) -> None:
    columns = [
        {"name": name, "role": "target", "lowest": 0.0, "highest": highest} for name in ("y", "z")
    ]
    found = spec(kit, target_kind="values", classes=None, examples=100, table=table(*columns))
    assert found.loss == "squared_error"
    assert widths(found)[-1] == 2
    assert found.optimizer.learning_rate == rate
    assert len(found.model.layers) == layers
    assert found.validation is not None
    assert not found.validation.stratify


@pytest.mark.parametrize(
    ("role", "key", "value"), [("split", "rows", "the set: 1"), ("unit", "by_unit", True)]
)
def test_held_out_rows_follow_the_table(kit: Any, role: str, key: str, value: Any) -> None:
    of = table({"name": "the set: 1", "role": role}, classes=["no", "yes\nor # so"])
    assert getattr(spec(kit, examples=100, table=of).validation, key) == value


def test_few_examples_are_all_trained_on(kit: Any) -> None:
    assert spec(kit, examples=9).validation is None


def test_pictures(kit: Any) -> None:
    found = spec(kit, input_shape=[3, 32, 32], input_dtype="uint8")
    assert kinds(found)[:3] == ["conv2d", "relu", "max_pool2d"]
    assert kinds(found)[-2:] == ["flatten", "linear"]
    assert kinds(spec(kit, (8,), input_shape=[20, 2]))[:2] == ["flatten", "linear"]


@pytest.mark.parametrize("name", ["true", "1e3", "12", "a.b-c"])
def test_names_that_look_like_other_values(kit: Any, name: str) -> None:
    assert spec(kit, name=name).dataset == name


@pytest.mark.parametrize("examples", [1, 10**3, 10**5, 10**7, 10**9])
def test_the_number_of_steps_is_bounded(kit: Any, examples: int) -> None:
    found = spec(kit, examples=examples)
    assert found.epochs is not None
    steps_per_epoch = -(-examples // found.minibatch(examples))
    assert found.epochs == 1 or found.epochs * steps_per_epoch <= 20_000


def test_the_command_writes_a_file(kit: Any, run: Callable[..., Result], tmp_path: Path) -> None:
    to = tmp_path / "a.yaml"
    done = run(kit.Script(kit.answer(200, kit.DATASET)), "spec", "digits", "--to", str(to))
    assert done.exit_code == 0, done.output
    assert load_job(to).dataset == "digits"
    again = run(kit.Script(), "spec", "digits", "--to", str(to))
    assert again.exit_code == 1
    assert "--replace" in again.output
    wrong = run(kit.Script(), "spec", "digits", "--hidden", "64;2")
    assert wrong.exit_code == 2
    assert "64,32" in wrong.output
