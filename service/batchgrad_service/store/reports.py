"""What engines report. Each method takes the engine's attempt, and refuses a stale one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from batchgrad.contract import TERMINAL, EventType
from batchgrad_engine.messages import Checkpointed, Happened, Report, Started
from batchgrad_service.store.database import Database
from batchgrad_service.store.records import append_event, job_row
from batchgrad_service.store.schema import checkpoints, jobs
from batchgrad_service.store.step_blocks import blocks
from batchgrad_service.store.step_blocks.thinning import thin


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert `rows`, replacing those with the same primary key: after a resume steps come again."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    others = {name: insert.excluded[name] for name in table.columns.keys() if name not in keys}  # noqa: SIM118
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=others), rows)


@dataclass(frozen=True)
class Line:
    """Which line on its engine's stdout, from 1, a message was, in which attempt."""

    attempt: int
    number: int


class EngineReports(Database):
    """Writes on behalf of engines; False, and nothing changes, for a stale attempt.

    Stale is every attempt but the newest, and any attempt at a job that has ended: nothing
    follows the event `end`. A `line` that was stored before, or is older than such a one, is taken
    and changes nothing: what an engine said may come twice, by its pipe and by its file.
    """

    def record_started(self, job_id: str, attempt: int, started: Started) -> bool:
        """Where the attempt runs, and from which step it goes on."""
        figures = started.model_dump(
            include={"executor", "workers", "threads", "step", "steps_planned"}
        )
        with self.writing(job_id) as connection:
            return _update_current(connection, job_id, attempt, figures)

    def record_report(
        self, job_id: str, attempt: int, report: Report, line: Line | None = None
    ) -> bool:
        """Store the report's steps, refresh the job's figures, add `progress` and other events.

        Steps that are computed again replace their rows, but tell nothing anew: there is one
        `evaluation` after a step, and `progress` never goes back.
        """
        figures: dict[str, Any] = {
            "workers": report.workers,
            "threads": report.threads,
            "executor": report.executor,
            "examples_per_second": report.examples_per_second,
        }
        rows = [row.model_dump() for row in report.rows]
        if rows:
            last = rows[-1]
            named = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "noise_scale")
            figures |= {name: last[name] for name in named}
            figures["shortcuts"] = {
                name: {figure: value for figure, value in shortcut.items() if figure != "layers"}
                for name, shortcut in last["shortcuts"].items()
            }
        if report.evaluations:
            newest = report.evaluations[-1].model_dump()
            figures |= {name: newest[name] for name in ("validation_loss", "validation_accuracy")}
        with self.writing(job_id) as connection:
            if not _update_current(connection, job_id, attempt, figures, line):
                return _is_current(connection, job_id, attempt)
            told = _Told.of(job_row(connection, job_id))
            if rows:
                blocks.put(connection, job_id, rows, exact=told.exact)
                thin(connection, job_id, rows[-1]["time"], exact=told.exact)
            for kind, data in told.news(report, figures):
                append_event(connection, job_id, kind, data, self._clock())
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**told.after(report)))
        return True

    def record_checkpoint(
        self, job_id: str, attempt: int, checkpoint: Checkpointed, line: Line | None = None
    ) -> bool:
        """A checkpoint's row, the digest of its parameters on the job, a `checkpoint` event.

        One that is written again, after a restart, makes no second event.
        """
        row = checkpoint.model_dump(exclude={"type"})
        kept = checkpoint.best or checkpoint
        figures = {
            "parameters_digest": kept.parameters_digest,
            "parameters_step": kept.step,
            "last_parameters_digest": checkpoint.parameters_digest,
            "best": row["best"],
        }
        known = select(checkpoints.c.step).where(
            checkpoints.c.job_id == job_id, checkpoints.c.step == checkpoint.step
        )
        with self.writing(job_id) as connection:
            if not _update_current(connection, job_id, attempt, figures, line):
                return _is_current(connection, job_id, attempt)
            again = connection.execute(known).first() is not None
            _upsert(connection, checkpoints, [{"job_id": job_id, **row}])
            if not again:
                data = checkpoint.model_dump(mode="json", exclude={"type", "file", "time"})
                append_event(connection, job_id, "checkpoint", data, self._clock())
        return True

    def record_event(
        self, job_id: str, attempt: int, happened: Happened, line: Line | None = None
    ) -> bool:
        """An event for people, as the engine tells it."""
        with self.writing(job_id) as connection:
            if not _update_current(connection, job_id, attempt, {}, line):
                return _is_current(connection, job_id, attempt)
            append_event(connection, job_id, happened.event, happened.data, self._clock())
        return True


@dataclass(frozen=True)
class _Told:
    """The last step that has a row, and the last that has an evaluation.

    `exact` says that figures keep their 53 bits.
    """

    steps_planned: int
    recorded: int
    evaluated: int
    exact: bool

    @staticmethod
    def of(job: RowMapping) -> "_Told":
        return _Told(
            job["steps_planned"],
            job["recorded_step"],
            job["evaluated_step"],
            exact=job["spec"].get("precision") == "float64",
        )

    def news(
        self, report: Report, figures: dict[str, Any]
    ) -> Iterator[tuple[EventType, dict[str, Any]]]:
        """The events of what the report has beyond that."""
        for warned in report.warnings:
            if warned.step > (self.recorded if warned.of == "step" else self.evaluated):
                yield "warning", {"detail": warned.detail}
        if report.rows and report.rows[-1].step > self.recorded:
            yield "progress", {"steps_planned": self.steps_planned, **_progress(figures)}
        for evaluation in report.evaluations:
            if evaluation.step > self.evaluated:
                yield "evaluation", evaluation.model_dump()

    def after(self, report: Report) -> dict[str, int]:
        """The columns as they are with the report."""
        evaluated = [evaluation.step for evaluation in report.evaluations]
        evaluated += [warned.step for warned in report.warnings if warned.of == "evaluation"]
        recorded = [row.step for row in report.rows[-1:]]
        return {
            "recorded_step": max(self.recorded, *recorded, 0),
            "evaluated_step": max(self.evaluated, *evaluated, 0),
        }


def _current(job_id: str, attempt: int) -> ColumnElement[bool]:
    return and_(jobs.c.id == job_id, jobs.c.attempts == attempt, jobs.c.status.not_in(TERMINAL))


def _is_current(connection: Connection, job_id: str, attempt: int) -> bool:
    return (
        connection.execute(select(jobs.c.id).where(_current(job_id, attempt))).first() is not None
    )


def _update_current(
    connection: Connection,
    job_id: str,
    attempt: int,
    figures: dict[str, Any],
    line: Line | None = None,
) -> bool:
    """Whether the attempt is current and the line new: then the job has `figures`."""
    change = (
        update(jobs)
        .where(_current(job_id, attempt))
        .values(attempts=attempt, **figures)  # the attempt itself, so that there is always a SET
    )
    if line is not None:
        change = change.where(
            tuple_(jobs.c.heard_attempt, jobs.c.heard_line) < (line.attempt, line.number)
        ).values(heard_attempt=line.attempt, heard_line=line.number)
    return connection.execute(change).rowcount == 1


def _progress(figures: dict[str, Any]) -> dict[str, Any]:
    named = ("step", "epoch", "loss", "gradient_norm", "examples_per_second")
    return {
        **{name: figures[name] for name in named},
        "shortcuts": {
            name: shortcut["relative_error"] for name, shortcut in figures["shortcuts"].items()
        },
    }
