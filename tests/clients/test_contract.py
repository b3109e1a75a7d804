"""Types in requests: numbers, booleans and text are not converted."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from batchgrad.contract import GradientsRequest, JobSpec
from batchgrad.contract.wire import Wire
from batchgrad.parsing.suggestions import _ELSEWHERE
from batchgrad.parsing.validation import field_errors
from tests.service.building import body


def kinds(of: type[Wire] = Wire) -> Iterator[type[Wire]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


FIELDS = {
    f"{kind.__name__}.{name}": field
    for kind in kinds()
    if kind.__module__.startswith("batchgrad.contract")
    for name, field in kind.model_fields.items()
}


def accepts(field: FieldInfo, value: Any) -> bool:
    annotation: Any = field.annotation
    for constraint in field.metadata:
        annotation = Annotated[annotation, constraint]
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def schema(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    return json.dumps(TypeAdapter(annotation).json_schema())


BOOLEANS = ('{"type": "boolean"}', '{"anyOf": [{"type": "boolean"}, {"type": "null"}]}')


def test_booleans_and_numbers_are_not_interchangeable() -> None:
    assert len(FIELDS) > 70
    for name, field in FIELDS.items():
        truth = schema(field) in BOOLEANS
        assert accepts(field, True) == truth, name
        assert not (truth and any(accepts(field, wrong) for wrong in (1, 0.0, "true", "yes"))), name


def test_fields_of_numbers_refuse_text() -> None:
    numbers = [
        (name, field)
        for name, field in FIELDS.items()
        if '"integer"' in schema(field) or '"number"' in schema(field)
    ]
    assert len(numbers) > 40
    for name, field in numbers:
        assert not accepts(field, "3"), name
        assert not accepts(field, [True, 1]), name


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", True, "got true; expected full, or an integer."),
        ("epochs", "1:30", "got '1:30'; expected an integer."),
        ("epochs", 3.0, "got 3.0; expected an integer, without a decimal point."),
        ("workers", False, "got false; expected auto, or an integer, or keys and values."),
        ("standardize", "yes", "got 'yes'; expected true or false."),
        ("class_weights", {1.5: 1.0}, "got {1.5: 1.0}; expected balanced, or text."),
        ("class_weights", {0: True}, "got true; expected a number."),
        ("checkpoint_interval_seconds", "30", "got '30'; expected a number."),
    ],
)
def test_errors_name_the_given_and_the_expected_value(key: str, value: Any, message: str) -> None:
    data = body(**{key: value})
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(data)
    found = [{**one, "loc": ("body", *one["loc"])} for one in caught.value.errors()]
    assert message in [error.detail for error in field_errors(found, data)]


def test_suggestions_are_names_of_the_contract() -> None:
    known = json.dumps([JobSpec.model_json_schema(), GradientsRequest.model_json_schema()])
    assert not {name for name in set(_ELSEWHERE.values()) if f'"{name}"' not in known}


def test_numpy_numbers_are_accepted() -> None:
    spec = JobSpec.model_validate(
        body(
            batch_size=np.int64(3),
            seed=np.uint8(7),
            standardize=np.bool_(True),
            optimizer={"kind": "sgd", "learning_rate": np.float32(0.5)},
            class_weights={np.int64(1): 2.0, np.False_: 3.0},
        )
    )
    assert (spec.batch_size, spec.seed, spec.standardize) == (3, 7, True)
    assert (spec.optimizer.learning_rate, spec.class_weights) == (0.5, {"1": 2.0, "false": 3.0})
    with pytest.raises(ValidationError):
        JobSpec.model_validate(body(batch_size=np.bool_(True)))
    request = GradientsRequest(
        model=spec.model, loss="squared_error", inputs=np.eye(2), targets=np.zeros(2)
    )
    assert request.inputs == [[1.0, 0.0], [0.0, 1.0]]
