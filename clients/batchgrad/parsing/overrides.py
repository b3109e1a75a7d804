"""Keys of a spec that are changed from outside its file: `optimizer.learning_rate=0.05`."""

from typing import Any

from batchgrad.errors import InvalidSpec
from batchgrad.parsing.documents import SyntaxFault, parse_yaml


def override(data: dict[str, Any], text: str) -> None:
    """Set data[a][b] for "a.b=VALUE"; the value is YAML."""
    key, value = split(text)
    assign(data, key, parsed(text, value))


def split(text: str) -> tuple[str, str]:
    """Key and value of "KEY=VALUE", as text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidSpec(f"got {text!r}; expected KEY=VALUE, such as seed=1.")
    return key, value


def parsed(text: str, value: str) -> Any:
    """A value written as YAML; `text` is what was given, for messages."""
    try:
        return parse_yaml(value)
    except SyntaxFault as fault:
        raise InvalidSpec(f"{text}: the value {fault}.") from fault


def assign(data: dict[str, Any], key: str, value: Any) -> None:
    """Set data[a][b] for the key "a.b"; a list's index is a number."""
    text = f"{key}={value}"
    parts = key.split(".")
    at: Any = data
    for part in parts[:-1]:
        at = at.setdefault(part, {}) if isinstance(at, dict) else _item(at, part, text)
    if isinstance(at, dict):
        at[parts[-1]] = value
    else:
        _item(at, parts[-1], text)
        at[int(parts[-1])] = value


def _item(at: Any, part: str, text: str) -> Any:
    if not isinstance(at, list) or not part.isdigit() or int(part) >= len(at):
        raise InvalidSpec(f"{text}: there is no {part!r} in {at!r}.")
    return at[int(part)]
