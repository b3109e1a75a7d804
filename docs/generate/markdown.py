"""Pieces of Markdown that the generated pages share."""

from collections.abc import Iterable

from pydantic import BaseModel

from batchgrad.display import schema_fields


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; a bar in a cell is escaped."""
    names = list(header)
    lines = [
        names,
        ["---"] * len(names),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fields(model: type[BaseModel]) -> str:
    """A list of a model's fields: name, what it takes, default, description; "" if it has none."""
    schema = model.model_json_schema()
    return "\n".join(map(_item, schema_fields.fields(schema, schema.get("$defs", {}))))


def _item(field: schema_fields.Described) -> str:
    default = "**required**" if field.default is None else f"default `{field.default}`"
    if field.default == "none":
        default = "optional"
    about = f". {field.about[:1].upper()}{field.about[1:]}" if field.about else ""
    return f"- `{field.name}`: {field.takes}, {default}{about}"
