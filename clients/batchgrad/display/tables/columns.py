"""A job's values by flat names, such as optimizer.learning_rate: to show as columns, to sort by."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from batchgrad.contract import SHORTCUT_NAMES, Job, JobSpec, Shortcut
from batchgrad.display.numbers import NONE, number, percent
from batchgrad.display.privacy import upper
from batchgrad.errors import InvalidArgument
from batchgrad.parsing.suggestions import suggest

_DEFAULT = ("id", "name", "status", "step", "loss", "validation_accuracy", "created_at")
_SPENT = "privacy.epsilon_spent"
_UPPER_BOUNDS = frozenset({_SPENT, "privacy.epsilon", "privacy.delta"})
_EXAMPLES = "validation_loss, created, labels.sweep, batch_size, optimizer.learning_rate"
_TIMES = {"created": "created_at", "started": "started_at", "finished": "finished_at"}


def values(job: Job) -> dict[str, Any]:
    """Every value of a job by its name; values of the spec are named as for --set.

    Where job and spec have the same name, such as loss, it is the job's, and the spec's is
    spec.loss.
    """
    spec = dict(_flat(job.spec.model_dump(mode="json")))
    named = {f"spec.{name}": value for name, value in spec.items()}
    return {**named, **spec, **dict(_flat(job.model_dump(mode="json", exclude={"spec"})))}


def default(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of a list of jobs; with private ones, also what they have spent."""
    private = [_SPENT] if any(_SPENT in row for row in rows) else []
    return [*_DEFAULT[:-1], *private, _DEFAULT[-1]]


def resolve(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The full names of columns.

    Raises:
        InvalidArgument: neither the contract nor one of the `rows` has such a name.
    """
    known = dict.fromkeys([*_contract_names(), *(name for row in rows for name in row)])
    found = [_TIMES.get(name, name) for name in names]
    for name in found:
        if name not in known and not name.startswith("labels."):
            folder = name.rpartition(".")[0]
            near_first = sorted(known, key=lambda one: one.rpartition(".")[0] != folder)
            meant = suggest(name, near_first)
            hint = f"did you mean {meant}?" if meant else f"expected one such as {_EXAMPLES}."
            raise InvalidArgument(
                f"A job has no {name!r:.100}: {hint} `batchgrad get JOB --output yaml` shows all."
            )
    return found


def ordered(rows: Sequence[Mapping[str, Any]], name: str, *, descending: bool = False) -> list[int]:
    """The indices of `rows` in the order of a value; rows without the value are last."""
    known = [index for index, row in enumerate(rows) if row.get(name) is not None]
    known.sort(key=lambda index: _rank(rows[index][name]), reverse=descending)
    return [*known, *(index for index, row in enumerate(rows) if row.get(name) is None)]


def heading(name: str) -> str:
    """The heading of a column."""
    if name == _SPENT:
        return "ε spent"
    return name if "." in name else name.removesuffix("_at").replace("_", " ")


def cell(name: str, row: Mapping[str, Any]) -> str:
    """The value of a column as text."""
    value = row.get(name)
    match value:
        case None:
            return NONE
        case float():
            bound = upper if name in _UPPER_BOUNDS else number
            return percent(value) if name.endswith("accuracy") else bound(value)
        case str() if name in _TIMES.values():
            return datetime.fromisoformat(value).isoformat(timespec="seconds")
        case list():
            return ", ".join(map(str, value)) or NONE
    return f"{value}/{row['steps_planned']}" if name == "step" else str(value)


def _rank(value: Any) -> tuple[bool, Any]:
    """Numbers before text, as `batch_size: full` beside 256."""
    comparable = value if isinstance(value, int | float) else str(value)
    return isinstance(comparable, str), comparable


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value inside mappings and lists of mappings, with its path."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        items = list(enumerate(value))
    else:
        yield prefix, value
    for key, one in items:
        yield from _flat(one, f"{prefix}.{key}" if prefix else str(key))


def _contract_names() -> Iterator[str]:
    """The names that any job may have, whatever the jobs at hand are."""
    yield from _fields(Job, skip="spec")
    for shortcut in SHORTCUT_NAMES:
        yield from (f"shortcuts.{shortcut}.{figure}" for figure in Shortcut.model_fields)
    for name in _fields(JobSpec):
        yield name
        yield f"spec.{name}"


def _fields(model: type[BaseModel], prefix: str = "", skip: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        members = [one for one in _members(field.annotation) if one is not NoneType]
        nested = [one for one in members if isinstance(one, type) and issubclass(one, BaseModel)]
        if name != skip and len(nested) < len(members):
            yield f"{prefix}{name}"
        if name != skip:
            for one in nested:
                yield from _fields(one, f"{prefix}{name}.")


def _members(annotation: Any) -> Iterator[Any]:
    """The members of a union, whose own annotations may be nested."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin is None or origin in {list, dict} or not get_args(annotation):
        yield origin or annotation
    else:
        for one in get_args(annotation):
            yield from _members(one)
