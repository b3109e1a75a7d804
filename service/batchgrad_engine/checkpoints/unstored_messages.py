"""The file of messages that the service has not stored yet, beside an engine's checkpoints.

An engine writes it before every checkpoint and at its end: all messages up to a checkpoint are
stored by the service or in this file. The service stores them before the next attempt. A message
is identified by its attempt and the number of its line on the engine's stdout, from 1, so that
a message that the service stored just before it died is not stored again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from batchgrad_engine.messages import AnyEngineMessage, EngineMessage
from batchgrad_engine.step_columns import columns_of
from batchgrad_workers.system.files import write_atomically

FILE = "unstored.jsonl"


class BadUnstored(Exception):
    """The file's content is not what an engine of this version, or the one before, writes."""


@dataclass(frozen=True)
class Unstored:
    """Messages of one attempt, oldest first, each with the number of its line."""

    attempt: int
    messages: list[tuple[int, AnyEngineMessage]]


def write(directory: Path, attempt: int, lines: Sequence[tuple[int, bytes]]) -> None:
    """Replace the file by these numbered lines, durably."""
    head = {"attempt": attempt, "numbers": [number for number, _ in lines]}
    content = [json.dumps(head).encode(), *(line for _, line in lines)]
    write_atomically(directory / FILE, b"\n".join(content))


def read(directory: Path) -> Unstored | None:
    """The messages in the file; None if there is no file.

    Raises:
        BadUnstored: the content is not valid.
    """
    try:
        head, *lines = (directory / FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    try:
        about = json.loads(head)
        messages = [EngineMessage.validate_json(_as_now(line)) for line in lines]
        return Unstored(about["attempt"], list(zip(about["numbers"], messages, strict=True)))
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise BadUnstored(f"{FILE} can't be read: {error}"[:500]) from error


def _as_now(line: bytes) -> bytes:
    """A line of the engine before an upgrade as this one writes it.

    It wrote `happened`, and `plan` for auto's choice, and its reports had rows in place of columns,
    and the phases of their steps once more for the metrics.
    """
    if line.startswith(b'{"type":"happened",'):
        message = {**json.loads(line), "type": "engine_event"}
        if message["event"] == "plan":
            message["event"] = "executor"
    elif b'"phase_seconds":' in line or (b'"rows":' in line and b'"steps":' not in line):
        message = json.loads(line)
        if "rows" in message:
            message["steps"] = columns_of(message.pop("rows"))
        message["observed"].pop("phase_seconds", None)  # counted when the report came, or never
    else:
        return line
    return json.dumps(message).encode()


def remove(directory: Path) -> None:
    """Delete the file, after the service has stored all its messages."""
    (directory / FILE).unlink(missing_ok=True)
