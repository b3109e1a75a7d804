"""Step rows as dicts: checked like `StepRow`, without an object for each part of each row.

A small job reports thousands of rows a second. Models made of them, and dicts of the models, took
three times as long as these.
"""

from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from batchgrad.contract import StepRow


class _AsStepRow:
    """Check a dict by the fields of `StepRow`; unknown keys are dropped, defaults filled in."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        del source, handler
        schema: CoreSchema = _of_dicts(StepRow.__pydantic_core_schema__)
        return schema


def _of_dicts(schema: Any) -> Any:
    """The schema with a dict of the same keys and values in place of each model."""
    if isinstance(schema, list):
        return [_of_dicts(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "model":
        return _of_dicts(schema["schema"])
    if schema.get("type") == "model-fields":
        fields = {name: _of_dicts(field["schema"]) for name, field in schema["fields"].items()}
        return {
            "type": "typed-dict",
            "fields": {
                name: {
                    "type": "typed-dict-field",
                    "schema": field,
                    "required": field["type"] != "default",
                }
                for name, field in fields.items()
            },
        }
    return {key: _of_dicts(part) for key, part in schema.items()}


StepDict = Annotated[dict[str, Any], _AsStepRow()]
"""A `StepRow` as a dict: its fields, and dicts in place of models."""
