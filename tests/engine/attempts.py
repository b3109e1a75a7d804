"""Run whole attempts in this process, inline, and read their messages and checkpoints."""

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, Literal

from batchgrad.contract import JobSpec, StepRow
from batchgrad_engine.attempt import run_attempt
from batchgrad_engine.checkpoints import job_directory
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.messages import (
    AnyEngineMessage,
    EngineMessage,
    Evaluated,
    Finished,
    Report,
    Start,
    encode,
)
from batchgrad_engine.step_columns import rows_of
from batchgrad_workers.data.source import DatasetSource


class ScriptedCommands:
    """Gives its command after `steps` steps; the engine checks before each step."""

    def __init__(self, steps: float = inf, kind: Any = None, *, ledger: bool = False) -> None:
        self._left = steps
        self._kind = kind
        self._ledger = ledger

    @property
    def interrupted(self) -> bool:
        self._left -= 1
        return self._kind == "interrupt" and self._left < 0

    @property
    def command(self) -> Literal["pause", "cancel"] | None:
        return self._kind if self._kind != "interrupt" and self._left < 0 else None

    def ledger_wanted(self) -> bool:
        return self._ledger


def attempt(
    job: JobSpec,
    dataset: Path,
    directory: Path,
    commands: ScriptedCommands | None = None,
    save_unstored: Callable[[], None] | None = None,
    **start: Any,
) -> list[AnyEngineMessage]:
    """Run an attempt; return its messages, as the service receives them."""
    directory.mkdir(exist_ok=True)
    messages: list[AnyEngineMessage] = []
    run_attempt(
        Start(
            job_id="j",
            attempt=1,
            spec=job,
            dataset=DatasetSource(dataset),
            job_directory=directory,
            **start,
        ),
        commands or ScriptedCommands(),
        lambda message: messages.append(EngineMessage.validate_json(encode(message))),
        save_unstored or (lambda: None),
    )
    return messages


def rows(messages: list[AnyEngineMessage]) -> list[StepRow]:
    """The steps that were reported."""
    return [
        StepRow.model_validate(row)
        for message in messages
        if isinstance(message, Report)
        for columns in message.steps
        for row in rows_of(columns)
    ]


def finished(messages: list[AnyEngineMessage]) -> Finished:
    """The attempt's last message."""
    assert isinstance(messages[-1], Finished)
    return messages[-1]


def bits(messages: list[AnyEngineMessage]) -> tuple[str | None, str | None]:
    """Digests of the parameters that the job keeps, and of its last ones."""
    end = finished(messages)
    return end.parameters_digest, end.last_parameters_digest


def warnings(messages: list[AnyEngineMessage]) -> list[str]:
    """The warnings about steps and evaluations."""
    return [
        warned.detail
        for message in messages
        if isinstance(message, Report)
        for warned in message.warnings
    ]


def evaluations(messages: list[AnyEngineMessage]) -> list[Evaluated]:
    """The evaluations that were reported."""
    return [e for message in messages if isinstance(message, Report) for e in message.evaluations]


def newest(directory: Path) -> Snapshot:
    """The newest checkpoint."""
    found, errors = job_directory.newest(directory)
    assert found is not None, errors
    return found
