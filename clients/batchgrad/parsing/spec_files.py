"""Load spec files, YAML or JSON: a job, or a minibatch for gradients."""

import base64
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from batchgrad.contract import GradientsRequest, JobSpec
from batchgrad.errors import InvalidRequest, InvalidSpec
from batchgrad.parsing import arguments
from batchgrad.parsing.documents import SyntaxFault, parse_json, parse_yaml
from batchgrad.parsing.key_lines import KeyLines
from batchgrad.parsing.overrides import override
from batchgrad.parsing.validation import field_errors

Spec = TypeVar("Spec", bound=BaseModel)


def load_job(path: str | Path, overrides: Sequence[str] = (), *, by: str = "--set") -> JobSpec:
    """A job spec from a file ("-": standard input), with overrides such as "optimizer.momentum=0".

    `by` is the option that gave the overrides, for messages.
    `initial_parameters: {file: PATH}`, relative to the spec file, becomes the file's content.
    Raises InvalidSpec, which names each wrong key, its line and what was expected.
    """
    name, text, data, folder = _read(path)
    overrides = arguments.texts("overrides", overrides)
    for change in overrides:
        override(data, change)
    _inline_parameters(data, folder)
    return _validated(JobSpec, data, KeyLines(text, name, overrides, by))


def load_gradients(path: str | Path) -> GradientsRequest:
    """A minibatch and a network for POST /v1/gradients, from a file ("-": standard input)."""
    name, text, data, _ = _read(path)
    return _validated(GradientsRequest, data, KeyLines(text, name))


def parse_job(text: str) -> JobSpec:
    """A job spec from YAML text; reads no file, even if the text names one.

    Raises InvalidSpec, whose `errors` point at each wrong key; `KeyLines` finds their lines.
    """
    return _validated(JobSpec, _parsed(text, "the text"), None)


@contextmanager
def naming_lines(
    path: str | Path, overrides: Sequence[str] = (), *, by: str = "--set"
) -> Iterator[None]:
    """Inside the block, errors of the service about the spec from `path` get line numbers.

    The file is read again, which is impossible for standard input.
    """
    try:
        yield
    except InvalidRequest as error:
        if str(path) == "-":
            raise
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError:  # removed meanwhile
            raise error from None
        lines = KeyLines(text, str(path), overrides, by)
        named = [lines.name(one) for one in error.errors]
        problem = error.problem.model_copy(update={"errors": named})
        raise InvalidRequest(problem, status=error.status, request=error.request) from error


def _read(path: str | Path) -> tuple[str, str, dict[str, Any], Path]:
    """The file's name for messages, its text, its value and its folder."""
    file = arguments.path("path", path)
    name = "standard input" if str(file) == "-" else str(file)
    try:
        if str(file) == "-":
            text, folder = sys.stdin.read() if sys.stdin else "", Path()
        else:
            text, folder = file.read_text(encoding="utf-8"), file.parent
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or an impossible file name
        raise InvalidSpec(f"{name} cannot be read: {error}.") from error
    return name, text, _parsed(text, name), folder


def _parsed(text: str, path: str) -> dict[str, Any]:
    try:
        data = parse_json(text) if path.endswith(".json") else parse_yaml(text)
    except SyntaxFault as fault:
        raise InvalidSpec(f"{path} {fault}.") from fault
    if not isinstance(data, dict):
        raise InvalidSpec(
            f"{path} contains {type(data).__name__}; expected keys and values: `name: digits`."
        )
    return data


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
    kind = "npz" if zipfile.is_zipfile(file) else "safetensors"
    data["initial_parameters"] = {kind: encoded, **others}


def _validated(kind: type[Spec], data: dict[str, Any], lines: KeyLines | None) -> Spec:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        findings = [
            {**found, "loc": ("body", *found["loc"])} for found in error.errors(include_url=False)
        ]
        named = field_errors(findings, data, kind)
        if lines is None:
            raise InvalidSpec("the text is not a valid spec:", named) from error
        named = [lines.name(one) for one in named]
        raise InvalidSpec(f"{lines.path} is not a valid spec:", named) from error
