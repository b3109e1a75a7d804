"""The steps and evaluations of a job as columns, and columns as a data frame."""

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from batchgrad.contract import FIGURES, Event, StepRow
from batchgrad.errors import InvalidArgument, Unavailable
from batchgrad.parsing import arguments

Library = Literal["pandas", "polars"]
LIBRARIES: tuple[Library, ...] = get_args(Library)
Columns = dict[str, list[Any]]


def columns(steps: Iterable[StepRow], events: Iterable[Event]) -> Columns:
    """A row for each step, with flat names; None where a step lacks a value.

    Validation figures are of the parameters after the step, all others of those before it. Times
    of a step's phases are in seconds. A shortcut S has `gap_S`, the relative error of its gradient,
    and `cosine_S` and `norm_ratio_S`.
    """
    rows: dict[int, dict[str, Any]] = {row.step: dict(_values(row)) for row in steps}
    for event in events:
        if event.type == "evaluation":
            found = {k: v for k, v in event.data.items() if k.startswith("validation_")}
            place = {"step": event.data["step"], "epoch": event.data["epoch"], "time": event.time}
            rows.setdefault(event.data["step"], place).update(found)
    first = ["step", "epoch", "time", *FIGURES]
    names = dict.fromkeys(first + [name for row in rows.values() for name in row])
    return {name: [rows[step].get(name) for step in sorted(rows)] for name in names}


def _values(row: StepRow) -> Iterator[tuple[str, Any]]:
    yield from {"step": row.step, "epoch": row.epoch, "time": row.time}.items()
    yield from ((name, getattr(row, name)) for name in FIGURES)
    for name, shortcut in row.shortcuts.items():
        yield f"gap_{name}", shortcut.relative_error
        yield f"cosine_{name}", shortcut.cosine_similarity
        yield f"norm_ratio_{name}", shortcut.norm_ratio
    if row.norms is not None:
        yield from ((f"example_norm_{name}", value) for name, value in row.norms.quantiles.items())
    if row.norm_test is not None:
        yield "norm_test_ratio", row.norm_test.ratio
        yield "norm_test_batch_size", row.norm_test.batch_size
    yield from ((f"seconds_{phase}", seconds) for phase, seconds in row.phases.items())
    yield from {"weight": row.weight, "workers": row.workers}.items()
    if row.epsilon is not None:
        yield "epsilon", row.epsilon


def check_library(library: Any) -> Library:
    """The library to make a data frame with: the one that is named, loaded, or installed.

    Raises:
        InvalidArgument: it is neither pandas nor polars.
        Unavailable: it is not installed.
    """
    if library is not None:
        named = [known for known in LIBRARIES if known == arguments.text("library", library)]
        if not named:
            raise InvalidArgument(f"library is {library!r}; expected {' or '.join(LIBRARIES)}.")
        return _installed(named)
    return _installed(sorted(LIBRARIES, key=lambda known: known not in sys.modules))


def _installed(libraries: Sequence[Library]) -> Library:
    for library in libraries:
        try:
            importlib.import_module(library)
        except ModuleNotFoundError as error:
            if error.name != library:
                raise
        else:
            return library
    raise Unavailable(
        f"A data frame needs {' or '.join(libraries)}, which is not installed: "
        f"pip install {libraries[0]}"
    )


def frame(data: Mapping[str, Sequence[Any]], library: Library) -> Any:
    """A data frame of pandas or polars; None becomes its own missing value."""
    module = importlib.import_module(library)
    if library == "polars":
        return module.DataFrame(data, infer_schema_length=None)
    return module.DataFrame(data)
