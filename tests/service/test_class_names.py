"""Classes with names: messages, class weights and plans name them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Dataset, JobSpec, Plan
from batchgrad_engine.training.class_weights import given_class_weights
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.job_data import JobData
from batchgrad_service.validation.plan import plan
from tests.service.building import NOW
from tests.service.planned import SGD, linear
from tests.service.reading.memory_tables import imported, text_table

ROWS = {"a": ["1", "2", "3", "4"] * 5, "kind": ["setosa", "other", "virginica", "other"] * 5}


def planned(directory: Path, outputs: int, rows: Any = ROWS, **changes: Any) -> Plan:
    content = imported(text_table(rows), directory, target="kind")
    fields = {"name": "j", "dataset": "d", "optimizer": SGD, "batch_size": 8, "epochs": 2}
    fields |= {"loss": "softmax_cross_entropy", "model": {"layers": [linear(outputs)]}}
    dataset = Dataset(name="d", created_at=NOW, **asdict(content))
    return plan(JobSpec.model_validate(fields | changes), JobData(dataset, directory))


def test_too_few_outputs_name_the_classes(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"3 classes \(other, setosa, virginica\).*features: 3"):
        planned(tmp_path, 2)


def test_too_many_outputs_name_the_classes(tmp_path: Path) -> None:
    [warning] = planned(tmp_path, 4).warnings
    assert "3 classes (other, setosa, virginica): output 3 has no example" in warning


def test_a_plan_names_the_classes(tmp_path: Path) -> None:
    assert planned(tmp_path, 3).classes == ["other", "setosa", "virginica"]


def test_one_class_is_named(tmp_path: Path) -> None:
    warnings = planned(tmp_path, 2, {"a": ["1", "2"], "kind": ["setosa"] * 2}).warnings
    assert [x for x in warnings if "All examples have class 0 (setosa)" in x]


def test_classes_without_examples_are_named(tmp_path: Path) -> None:
    warnings = planned(tmp_path, 3, class_weights={"setosa": 0, "virginica": 0}).warnings
    assert [x for x in warnings if "class 0 (other)" in x]
    [warning] = planned(_new(tmp_path), 3, class_weights={"setosa": 0}).warnings
    assert "no example of these classes: setosa." in warning


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("setosaa", "no class setosaa; did you mean setosa"),
        (1, "no class 1; its classes are other, setosa, virginica"),
    ],
)
def test_class_weights_of_an_unknown_class(key: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=message):
        planned(tmp_path, 3, class_weights={key: 2})


def test_class_weights_by_name_and_by_number_are_the_same() -> None:
    def weights(given: Any, names: list[str] | None) -> Any:
        fields = {"name": "j", "dataset": "d", "optimizer": SGD, "batch_size": 8, "epochs": 2}
        fields |= {"loss": "softmax_cross_entropy", "model": {"layers": [linear(3)]}}
        return given_class_weights(
            JobSpec.model_validate(fields | {"class_weights": given}), 3, names
        )

    named = weights({"setosa": 2, "virginica": 0.5}, ["other", "setosa", "virginica"])
    np.testing.assert_array_equal(named, [1, 2, 0.5])
    np.testing.assert_array_equal(named, weights({1: 2, 2: 0.5}, None))
    # of classes whose names are numbers, a key is the name
    np.testing.assert_array_equal(weights({1: 2}, ["1", "2", "3"]), [2, 1, 1])
    np.testing.assert_array_equal(weights({True: 2}, ["false", "true"]), [1, 2, 1])


def _new(folder: Path) -> Path:
    path = folder / "new"
    path.mkdir()
    return path
