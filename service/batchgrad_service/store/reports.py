"""Store what engines report; reports of stale attempts are refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from batchgrad.contract import FIGURES, TERMINAL, VALIDATION_FIGURES, EventType
from batchgrad_engine.messages import Checkpointed, EngineEvent, Report, Started
from batchgrad_engine.step_columns import row_at
from batchgrad_service.store.database import Database, Written
from batchgrad_service.store.privacy import spend_at_least
from batchgrad_service.store.records import append_event, job_of, job_row
from batchgrad_service.store.schema import checkpoints, jobs
from batchgrad_service.store.step_blocks import blocks, curves
from batchgrad_service.store.step_blocks.thinning import thin


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert `rows`; replace rows with the same primary key, since a resumed job repeats steps."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    others = {name: insert.excluded[name] for name in table.columns.keys() if name not in keys}  # noqa: SIM118
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=others), rows)


@dataclass(frozen=True)
class MessageId:
    """Identifies an engine's message: its attempt, and its line on stdout, counted from 1."""

    attempt: int
    line: int


class EngineReports(Database):
    """Write engines' messages. For a stale attempt each method returns False and changes nothing.

    An attempt is stale if it is not the newest, or if the job has ended: no event follows `end`.
    A message with a `message_id` that is not newer than the newest stored one returns True and
    changes nothing: a message may arrive twice, by the engine's pipe and by its file.
    """

    def record_started(self, job_id: str, attempt: int, started: Started) -> bool:
        """Store where the attempt runs and the step from which it continues."""
        values = started.model_dump(
            include={"executor", "workers", "threads", "step", "steps_planned"}
        )
        with self.writing(job_id) as connection:
            return _update_current(connection, job_id, attempt, values)

    def record_report(
        self, job_id: str, attempt: int, report: Report, message_id: MessageId | None = None
    ) -> bool:
        """Store the report's steps, update the job's figures, add `progress` and other events.

        Steps that are computed again replace their rows but add no events: a step has one
        `evaluation`, and `progress` never goes back.
        """
        values: dict[str, Any] = {
            "workers": report.workers,
            "threads": report.threads,
            "executor": report.executor,
            "examples_per_second": report.examples_per_second,
        }
        if report.steps:
            last = row_at(report.steps[-1], -1)
            values |= {"step": last["step"], "epoch": last["epoch"]}
            values["figures"] = {name: last[name] for name in FIGURES}
            values["shortcuts"] = {
                name: {figure: value for figure, value in shortcut.items() if figure != "layers"}
                for name, shortcut in last["shortcuts"].items()
            }
            if last["epsilon"] is not None:
                values["epsilon_spent"] = last["epsilon"]
        if report.evaluations:
            newest = report.evaluations[-1].model_dump()
            values |= {name: newest[name] for name in VALIDATION_FIGURES}
        written = Written()
        with self.writing(job_id, written) as connection:
            if not _update_current(connection, job_id, attempt, values, message_id):
                return _is_current(connection, job_id, attempt)
            # What changes below (last_event, recorded_step, evaluated_step) is no part of a Job.
            row = job_row(connection, job_id)
            written.job = partial(job_of, row)
            recorded = _Recorded.of(row)
            if (epsilon := values.get("epsilon_spent")) is not None:
                spend_at_least(connection, job_id, epsilon)
            if report.steps:
                if (first := report.steps[0]["step"][0]) <= recorded.step:
                    curves.cut(connection, job_id, first)
                blocks.put_columns(connection, job_id, report.steps, exact=recorded.exact)
                thin(connection, job_id, last["time"], exact=recorded.exact)
            for kind, data in recorded.new_events(report, values):
                append_event(connection, job_id, kind, data, self._clock())
            connection.execute(
                update(jobs).where(jobs.c.id == job_id).values(**recorded.after(report))
            )
        return True

    def record_checkpoint(
        self,
        job_id: str,
        attempt: int,
        checkpoint: Checkpointed,
        message_id: MessageId | None = None,
    ) -> bool:
        """Store the checkpoint, put its parameters' digest on the job, add a `checkpoint` event.

        A checkpoint that is written again after a restart adds no second event.
        """
        row = checkpoint.model_dump(exclude={"type"})
        kept = checkpoint.best or checkpoint
        values = {
            "parameters_digest": kept.parameters_digest,
            "parameters_step": kept.step,
            "last_parameters_digest": checkpoint.parameters_digest,
            "best": row["best"],
        }
        known = select(checkpoints.c.step).where(
            checkpoints.c.job_id == job_id, checkpoints.c.step == checkpoint.step
        )
        with self.writing(job_id) as connection:
            if not _update_current(connection, job_id, attempt, values, message_id):
                return _is_current(connection, job_id, attempt)
            again = connection.execute(known).first() is not None
            _upsert(connection, checkpoints, [{"job_id": job_id, **row}])
            if not again:
                data = checkpoint.model_dump(mode="json", exclude={"type", "file", "time"})
                append_event(connection, job_id, "checkpoint", data, self._clock())
        return True

    def record_event(
        self, job_id: str, attempt: int, event: EngineEvent, message_id: MessageId | None = None
    ) -> bool:
        """Add an event from the engine."""
        with self.writing(job_id) as connection:
            if not _update_current(connection, job_id, attempt, {}, message_id):
                return _is_current(connection, job_id, attempt)
            append_event(connection, job_id, event.event, event.data, self._clock())
        return True


@dataclass(frozen=True)
class _Recorded:
    """The last step that has a row, and the last that has an evaluation.

    `exact`: figures are stored as float64.
    """

    steps_planned: int
    step: int
    evaluated_step: int
    exact: bool

    @staticmethod
    def of(job: RowMapping) -> "_Recorded":
        return _Recorded(
            job["steps_planned"],
            job["recorded_step"],
            job["evaluated_step"],
            exact=job["spec"].get("precision") == "float64",
        )

    def new_events(
        self, report: Report, values: dict[str, Any]
    ) -> Iterator[tuple[EventType, dict[str, Any]]]:
        """Yield the events for what the report adds."""
        for warned in report.warnings:
            if warned.step > (self.step if warned.of == "step" else self.evaluated_step):
                yield "warning", {"detail": warned.detail}
        if report.steps and report.steps[-1]["step"][-1] > self.step:
            yield "progress", {"steps_planned": self.steps_planned, **_progress(values)}
        for evaluation in report.evaluations:
            if evaluation.step > self.evaluated_step:
                yield "evaluation", evaluation.model_dump()

    def after(self, report: Report) -> dict[str, int]:
        """Return the job's columns with the report included."""
        evaluated = [evaluation.step for evaluation in report.evaluations]
        evaluated += [warned.step for warned in report.warnings if warned.of == "evaluation"]
        recorded = [columns["step"][-1] for columns in report.steps[-1:]]
        return {
            "recorded_step": max(self.step, *recorded, 0),
            "evaluated_step": max(self.evaluated_step, *evaluated, 0),
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
    values: dict[str, Any],
    message_id: MessageId | None = None,
) -> bool:
    """Set these columns if the attempt is current and the message new; return whether."""
    change = (
        update(jobs)
        .where(_current(job_id, attempt))
        .values(attempts=attempt, **values)  # the attempt itself, so that SET is never empty
    )
    if message_id is not None:
        change = change.where(
            tuple_(jobs.c.stored_attempt, jobs.c.stored_line)
            < (message_id.attempt, message_id.line)
        ).values(stored_attempt=message_id.attempt, stored_line=message_id.line)
    return connection.execute(change).rowcount == 1


def _progress(values: dict[str, Any]) -> dict[str, Any]:
    named = ("step", "epoch", "examples_per_second")
    return {
        **{name: values[name] for name in named},
        **values["figures"],
        "shortcuts": {
            name: shortcut["relative_error"] for name, shortcut in values["shortcuts"].items()
        },
    }
