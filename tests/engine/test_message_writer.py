"""Messages that the service has not stored yet: which are kept, and when they are dropped."""

import io
import os
from datetime import UTC, datetime
from pathlib import Path

from batchgrad_engine.checkpoints import unstored_messages
from batchgrad_engine.message_writer import MessageWriter
from batchgrad_engine.messages import Checkpointed, EngineEvent, LedgerWritten, Start
from batchgrad_workers.data.source import DatasetSource
from tests.engine.small_job import spec

EVENT = EngineEvent(event="warning", data={"detail": "a warning"})
CHECKPOINT = Checkpointed(
    step=1,
    time=datetime(2026, 1, 1, tzinfo=UTC),
    file="step-1",
    bytes=1,
    digest="sha256:0",
    parameters_digest="sha256:0",
)


def saved(writer: MessageWriter, directory: Path) -> list[tuple[int, str]]:
    """Line numbers and types in the file that `writer` saves."""
    dataset = DatasetSource(directory)
    start = Start(job_id="1", attempt=3, spec=spec(), dataset=dataset, job_directory=directory)
    writer.save_unstored(start)
    unstored = unstored_messages.read(directory)
    if unstored is None:
        return []
    assert unstored.attempt == 3
    return [(number, message.type) for number, message in unstored.messages]


def test_lines_up_to_the_stored_one_are_dropped(tmp_path: Path) -> None:
    stream = io.BytesIO()
    writer = MessageWriter(stream)
    assert saved(writer, tmp_path) == []
    for message in (EVENT, LedgerWritten(step=1), CHECKPOINT, EVENT):
        writer.send(message)
    assert len(stream.getvalue().splitlines()) == 4
    kept = [(1, "engine_event"), (3, "checkpointed"), (4, "engine_event")]
    assert saved(writer, tmp_path) == kept
    writer.stored(3)
    assert saved(writer, tmp_path) == kept[2:]
    writer.stored(4)
    assert saved(writer, tmp_path) == []


def test_after_the_pipe_breaks_messages_are_kept(tmp_path: Path) -> None:
    reader, pipe = os.pipe()
    os.close(reader)
    with os.fdopen(pipe, "wb", buffering=0) as stream:
        writer = MessageWriter(stream)
        writer.send(EVENT)
        writer.send(CHECKPOINT)
    assert saved(writer, tmp_path) == [(1, "engine_event"), (2, "checkpointed")]
