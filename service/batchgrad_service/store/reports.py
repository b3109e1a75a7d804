"""What engines report. Each method takes the engine's attempt, and refuses a stale one."""

from typing import Any

from sqlalchemy import Connection, Table, update
from sqlalchemy.dialects import postgresql, sqlite

from batchgrad.contract import TERMINAL
from batchgrad_service.engine.messages import Checkpointed, Happened, Report, Started
from batchgrad_service.store.database import Database
from batchgrad_service.store.records import append_event, job_row
from batchgrad_service.store.schema import checkpoints, jobs, steps


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert `rows`, replacing those with the same primary key: after a resume steps come again."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    others = {name: insert.excluded[name] for name in table.columns.keys() if name not in keys}  # noqa: SIM118
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=others), rows)


class EngineReports(Database):
    """Writes on behalf of engines; False, and nothing changes, for a stale attempt.

    Stale is every attempt but the newest, and any attempt at a job that has ended: nothing
    follows the event `end`.
    """

    def record_started(self, job_id: str, attempt: int, started: Started) -> bool:
        """Where the attempt runs, and from which step it goes on."""
        figures = started.model_dump(
            include={"executor", "workers", "threads", "step", "steps_planned"}
        )
        with self.writing(job_id) as connection:
            return _update_current(connection, job_id, attempt, figures)

    def record_report(self, job_id: str, attempt: int, report: Report) -> bool:
        """Store the report's steps, refresh the job's figures, add `progress` and `evaluation`s."""
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
            if not _update_current(connection, job_id, attempt, figures):
                return False
            if rows:
                _upsert(connection, steps, [{"job_id": job_id, **row} for row in rows])
                planned = job_row(connection, job_id)["steps_planned"]
                data = {"steps_planned": planned, **_progress(figures)}
                append_event(connection, job_id, "progress", data, self._clock())
            for evaluation in report.evaluations:
                append_event(
                    connection, job_id, "evaluation", evaluation.model_dump(), self._clock()
                )
        return True

    def record_checkpoint(self, job_id: str, attempt: int, checkpoint: Checkpointed) -> bool:
        """A checkpoint's row, the digest of its parameters on the job, a `checkpoint` event."""
        row = checkpoint.model_dump(exclude={"type"})
        kept = checkpoint.best or checkpoint
        figures = {
            "parameters_digest": kept.parameters_digest,
            "parameters_step": kept.step,
            "last_parameters_digest": checkpoint.parameters_digest,
            "best": row["best"],
        }
        with self.writing(job_id) as connection:
            if not _update_current(connection, job_id, attempt, figures):
                return False
            _upsert(connection, checkpoints, [{"job_id": job_id, **row}])
            data = checkpoint.model_dump(mode="json", exclude={"type", "file", "time"})
            append_event(connection, job_id, "checkpoint", data, self._clock())
        return True

    def record_event(self, job_id: str, attempt: int, happened: Happened) -> bool:
        """An event for people, as the engine tells it."""
        with self.writing(job_id) as connection:
            if not _update_current(connection, job_id, attempt, {}):
                return False
            append_event(connection, job_id, happened.event, happened.data, self._clock())
        return True


def _update_current(
    connection: Connection, job_id: str, attempt: int, figures: dict[str, Any]
) -> bool:
    changed = connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.attempts == attempt, jobs.c.status.not_in(TERMINAL))
        .values(attempts=attempt, **figures)  # the attempt itself, so that there is always a SET
    )
    return changed.rowcount == 1


def _progress(figures: dict[str, Any]) -> dict[str, Any]:
    named = ("step", "epoch", "loss", "gradient_norm", "examples_per_second")
    return {
        **{name: figures[name] for name in named},
        "shortcuts": {
            name: shortcut["relative_error"] for name, shortcut in figures["shortcuts"].items()
        },
    }
