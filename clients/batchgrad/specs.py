"""Spec files: a job, or a minibatch for the gradients question, as YAML or JSON."""

import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from batchgrad.contract import GradientsRequest, JobSpec
from batchgrad.errors import InvalidSpec
from batchgrad.validation import Path as KeyPath
from batchgrad.validation import explain, problem_errors

Spec = TypeVar("Spec", bound=BaseModel)


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> JobSpec:
    """A job spec from a file ("-": standard input), with overrides such as "optimizer.momentum=0".

    `initial_parameters: {file: PATH}`, relative to the spec file, is read and put in its place.
    Raises InvalidSpec, which names each wrong key, its line and what was expected.
    """
    text, data, folder = _read(path)
    for override in overrides:
        _override(data, override)
    _inline_parameters(data, folder)
    return _validated(JobSpec, data, text, str(path))


def load_gradients(path: str | Path) -> GradientsRequest:
    """A minibatch and a network for POST /v1/gradients, from a file ("-": standard input)."""
    text, data, _ = _read(path)
    return _validated(GradientsRequest, data, text, str(path))


def _read(path: str | Path) -> tuple[str, dict[str, Any], Path]:
    try:
        if str(path) == "-":
            text, folder = sys.stdin.read(), Path()
        else:
            text, folder = Path(path).read_text(encoding="utf-8"), Path(path).parent
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path} cannot be read: {error}.") from error
    try:
        data = json.loads(text) if str(path).endswith(".json") else yaml.safe_load(text)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        kind = "JSON" if isinstance(error, json.JSONDecodeError) else "YAML"
        raise InvalidSpec(f"{path} is no {kind}: {error}") from error
    if not isinstance(data, dict):
        raise InvalidSpec(
            f"{path} holds {type(data).__name__}, expected keys and values such as `name: digits`."
        )
    return text, data, folder


def _override(data: dict[str, Any], override: str) -> None:
    """Set data[a][b] for "a.b=VALUE"; the value is YAML, a list's index a number."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InvalidSpec(f"got {override!r}: an override reads KEY=VALUE, as in seed=1.")
    parts = key.split(".")
    at: Any = data
    for part in parts[:-1]:
        at = at.setdefault(part, {}) if isinstance(at, dict) else _item(at, part, override)
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InvalidSpec(f"{override}: the value is no YAML: {error}") from error
    if isinstance(at, dict):
        at[parts[-1]] = parsed
    else:
        _item(at, parts[-1], override)
        at[int(parts[-1])] = parsed


def _item(at: Any, part: str, override: str) -> Any:
    if not isinstance(at, list) or not part.isdigit() or int(part) >= len(at):
        raise InvalidSpec(f"{override}: there is no {part!r} in {at!r}.")
    return at[int(part)]


def _inline_parameters(data: dict[str, Any], folder: Path) -> None:
    start = data.get("initial_parameters")
    if not isinstance(start, dict) or "file" not in start:
        return
    file = folder / str(start["file"])
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidSpec(f"initial_parameters.file is {start['file']!r}: {error}.") from error
    others = {key: value for key, value in start.items() if key != "file"}
    encoded = base64.b64encode(content).decode("ascii")
    data["initial_parameters"] = {"safetensors": encoded, **others}


def _validated(kind: type[Spec], data: dict[str, Any], text: str, name: str) -> Spec:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        root = None if name.endswith(".json") else yaml.compose(text, Loader=yaml.SafeLoader)
        explained = [
            (path, _with_line(detail, _line(root, path))) for path, detail in explain(error, data)
        ]
        raise InvalidSpec(f"{name} is no valid spec:", problem_errors(explained)) from error


def _with_line(detail: str, line: int | None) -> str:
    return detail if line is None else f"{detail} (line {line})"


def _line(node: Any, path: KeyPath) -> int | None:
    """The line of a YAML key, counted from 1; of the closest key around it if it is missing."""
    line: int | None = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [(k, v) for k, v in node.value if k.value == str(part)]
            if not pairs:
                break
            line, node = pairs[-1][0].start_mark.line + 1, pairs[-1][1]
        elif isinstance(node, yaml.SequenceNode) and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        else:
            break
    return line
