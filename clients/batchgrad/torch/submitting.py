"""The spec of a job that trains a module of this process, with its code and values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from batchgrad.contract import JobSpec
from batchgrad.errors import InvalidArgument
from batchgrad.parsing.suggestions import suggest
from batchgrad.torch.packing.archive import pack
from batchgrad.torch.ready.checks import check_module
from batchgrad.torch.ready.naming import task
from batchgrad.torch.tasks import Task

MOST_NAME = 128
"""Characters in a job's name."""

_OF_MODEL = ("autocast",)
_MADE = ("model", "loss", "dataset", "initial_parameters")
"""Keys of a spec that are made of the module and the data."""


@dataclass(frozen=True)
class ModuleJob:
    """A spec without its dataset and digests, a code archive, and a safetensors file of values."""

    spec: dict[str, Any]
    archive: bytes
    parameters: bytes


def job_of(module: Any, loss: Any, keys: Mapping[str, Any]) -> ModuleJob:
    """The job of a module with a loss, or of a Task; `keys` are the spec's and the model's.

    Raises:
        InvalidArgument: it is no module, has no loss or two, or a key is unknown.
    """
    made = task_of(module, loss)
    known = [each for each in JobSpec.model_fields if each not in _MADE]
    for key in keys:
        if key not in known and key not in _OF_MODEL:
            raise InvalidArgument(_unknown(key, [*known, *_OF_MODEL]))
    optimizer = keys.get("optimizer")
    if not isinstance(optimizer, Mapping | BaseModel):
        raise InvalidArgument(
            f"optimizer is {_named(optimizer)}; expected its kind and numbers, such as "
            "{'kind': 'adam', 'learning_rate': 0.001}."
        )
    packed = pack(made)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", type(made.module).__name__).lstrip("._-")[:MOST_NAME]
    spec = {
        "name": name or "module",
        "precision": packed.precision,
        **{key: value for key, value in keys.items() if key in known and value is not None},
        "model": {
            "torch": packed.function,
            **{key: keys[key] for key in _OF_MODEL if keys.get(key) is not None},
        },
    }
    return ModuleJob(spec, packed.archive, packed.parameters)


def task_of(module: Any, loss: Any) -> Task:
    """The task of a module with a loss, or the Task itself.

    Raises:
        InvalidArgument: it is no module, or has no loss or two.
    """
    if isinstance(module, Task):
        if loss is not None:
            raise InvalidArgument("got a Task and a loss: a Task has its own; remove the loss.")
        check_module(module.module)
        return module
    check_module(module)
    if loss is None:
        raise InvalidArgument(
            "loss is required with a module: its name, such as 'cross_entropy' or 'mse', a loss of "
            "torch.nn, or a function; or give a batchgrad.torch Task, such as classification("
            "module)."
        )
    return task(module, loss)


def _named(value: Any) -> str:
    """A plain value, or the type of another one: an optimizer of torch has a long repr."""
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _unknown(key: str, known: list[str]) -> str:
    if key in _MADE:
        return f"got {key}: it is made of the module and the data; remove it."
    if suggest(key, ["learning_rate"]):
        return f"{key} is a key of the optimizer: {{'kind': 'adam', 'learning_rate': 0.001}}."
    meant = suggest(key, known)
    if meant:
        return f"There is no key {key}: did you mean {meant}?"
    return f"There is no key {key}; the keys of a spec are {', '.join(known)}."
