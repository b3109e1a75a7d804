"""The comparison of jobs for /jobs/compare: keys that differ, figures, their order and axes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchgrad.contract import SHORTCUT_NAMES, VALIDATION_FIGURES, Job
from batchgrad.display.numbers import duration
from batchgrad.display.tables import columns
from batchgrad.display.tables.sweep import best_first
from batchgrad_service.problems import InvalidError
from batchgrad_service.web.numbers import number
from batchgrad_service.web.rendering import seconds_of

MOST_CURVES = 20
"""How many jobs have a colour, and curves."""

MOST_KEYS = 6
"""How many keys stand beside the figures; more have a table of their own."""

MOST_AXES = 8
"""How many keys have an axis of the parallel coordinates."""

SPEC = "spec."
_NOT_COMPARED = {f"{SPEC}name"}


@dataclass(frozen=True)
class Column:
    """A setting or a figure of the jobs; `best` is its best value, None where none is better."""

    name: str
    heading: str
    higher: bool = False
    best: Any = None

    @property
    def setting(self) -> bool:
        """Whether it is a key of the spec."""
        return self.name.startswith(SPEC)


@dataclass(frozen=True)
class Row:
    """A job with its values by column; `series` numbers its colour, None without curves.

    `title` is its name, with the end of its id where another job has the same name.
    """

    job: Job
    title: str
    values: Mapping[str, Any]
    series: int | None

    def text(self, column: Column) -> str:
        """A cell of the table."""
        value = self.values.get(column.name)
        if isinstance(value, float) and not column.name.endswith("accuracy"):
            if column.name == "duration":
                return duration(value)
            return number(value, padded=not column.setting)
        if isinstance(value, bool):
            return str(value).lower()
        return columns.cell(column.name, self.values)


@dataclass(frozen=True)
class Comparison:
    """The jobs in the order of the table; `decides` is the figure of that order."""

    rows: list[Row]
    settings: list[Column]
    figures: list[Column]
    sort: str
    descending: bool
    decides: str

    @property
    def shortcuts(self) -> list[str]:
        """The shortcuts that were measured."""
        return [
            name for name in SHORTCUT_NAMES if any(name in row.job.shortcuts for row in self.rows)
        ]

    def axes(self) -> list[dict[str, Any]]:
        """The axes of parallel coordinates, with a value for each row."""
        gaps = [one for one in self.figures if one.name.startswith("shortcuts.")]
        figures = [one for one in self.figures if one not in gaps and one.name != "duration"]
        shown = [*self.settings[:MOST_AXES], *figures, *gaps[:1]]
        return [
            {
                "label": column.heading,
                "percent": column.name.endswith("accuracy"),
                "values": [_plotted(row.values.get(column.name)) for row in self.rows],
            }
            for column in shown
        ]

    def lines(self) -> list[dict[str, Any]]:
        """The jobs whose lines cross the axes, in the order of the rows."""
        return [{"id": row.job.id, "name": row.title, "series": row.series} for row in self.rows]


def compared(jobs: Sequence[Job], sort: str, *, descending: bool, best: bool) -> Comparison:
    """The comparison of `jobs`; in their own order, or with `best` the best first.

    Raises:
        InvalidError: `sort` is no column.
    """
    decides, jobs = _best_first(jobs) if best else ("", jobs)
    curves = [job.id for job in jobs[:MOST_CURVES]]
    if best:
        curves.sort()  # a job keeps its colour while another one overtakes it
    names = Counter(job.name for job in jobs)
    rows = [
        Row(
            job,
            f"{job.name} …{job.id[-4:]}" if names[job.name] > 1 else job.name,
            _values(job),
            curves.index(job.id) if job.id in curves else None,
        )
        for job in jobs
    ]
    values = [row.values for row in rows]
    settings, figures = _settings(values), _figures(values)
    if sort:
        known = [one.name for one in (*settings, *figures)]
        if sort not in known:
            raise InvalidError(f"sort is {sort!r:.100}; expected one of {', '.join(known)}.")
        rows = [rows[at] for at in columns.ordered(values, sort, descending=descending)]
    return Comparison(rows, settings, figures, sort, descending, decides)


def _best_first(jobs: Sequence[Job]) -> tuple[str, list[Job]]:
    """The figure that decides, and the jobs in its order."""
    figure, results = best_first(jobs, ())
    by_id = {job.id: job for job in jobs}
    return figure, [by_id[row["id"]] for row in results]


def _values(job: Job) -> dict[str, Any]:
    """All values of a job; its validation figures are of the parameters that it keeps."""
    kept = job.best or job
    figures: dict[str, Any] = {name: getattr(kept, name) for name in VALIDATION_FIGURES}
    return {**columns.values(job), **figures, "duration": seconds_of(job)}


def _settings(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The keys of the specs that differ, in the order of the spec."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(SPEC))
    return [
        Column(name, name.removeprefix(SPEC))
        for name in names
        if name not in _NOT_COMPARED and any(row.get(name) != rows[0].get(name) for row in rows)
    ]


def _figures(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The figures that some job has, each with its best value."""
    higher: dict[str, bool] = {"loss": False}
    higher |= {name: figure.higher_is_better for name, figure in VALIDATION_FIGURES.items()}
    found = [
        Column(name, columns.heading(name), better, _best([row.get(name) for row in rows], better))
        for name, better in higher.items()
    ]
    found.append(Column("duration", "duration"))
    found += [
        Column(f"shortcuts.{name}.relative_error", f"gap of {name}") for name in SHORTCUT_NAMES
    ]
    return [one for one in found if any(row.get(one.name) is not None for row in rows)]


def _best(values: Sequence[Any], higher: bool) -> Any:
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return None
    return max(known) if higher else min(known)


def _plotted(value: Any) -> float | str | None:
    """A number or a category."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return str(value)
