"""`CommandReader`: what an engine reads on its stdin."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import TextIO

import pytest

from batchgrad_engine.commands import CommandReader, outcome_of
from batchgrad_engine.executors.protocol import Interrupted
from batchgrad_engine.messages import ClusterFound, Command, Stored


def pipe() -> tuple[TextIO, TextIO]:
    reading, writing = os.pipe()
    return os.fdopen(reading), os.fdopen(writing, "w", buffering=1)


def test_commands_are_read_while_a_cluster_is_awaited() -> None:
    found = ClusterFound(address="127.0.0.1:1", environment={"A": "b"})
    stored: list[int] = []
    reading, writing = pipe()
    with reading, writing, ThreadPoolExecutor(1) as pool:
        commands = CommandReader(reading, stored.append)
        cluster = pool.submit(commands.cluster, lambda: commands.interrupted)
        sent = (Command(command="ledger"), found, Stored(stored=7), Command(command="pause"))
        for message in sent:
            writing.write(message.model_dump_json() + "\n")
        assert cluster.result(30) == found
        writing.close()
        commands._thread.join(30)
        assert commands.ledger_wanted()
        assert commands.command == "pause"
        assert stored == [7]
        assert commands.interrupted


@pytest.mark.parametrize(
    ("sent", "outcome"), [(["pause"], "paused"), (["cancel"], "cancelled"), ([], "interrupted")]
)
def test_the_outcome_of_an_attempt_is_that_of_its_command(sent: list[str], outcome: str) -> None:
    stored: list[int] = []
    reading, writing = pipe()
    with reading, writing:
        commands = CommandReader(reading, stored.append)
        for word in sent:
            writing.write(json.dumps({"command": word}) + "\n")
        deadline = monotonic() + 30
        while bool(sent) != bool(commands.command) and monotonic() < deadline:
            sleep(0.001)
        assert outcome_of(commands) == outcome
        writing.close()
        commands._thread.join(30)
        assert outcome_of(commands) == "interrupted"  # the end of stdin comes first


def test_waiting_for_a_cluster_stops_when_the_engine_must_exit() -> None:
    stored: list[int] = []
    reading, writing = pipe()
    with reading, ThreadPoolExecutor(1) as pool:
        commands = CommandReader(reading, stored.append)
        cluster = pool.submit(commands.cluster, lambda: commands.interrupted)
        writing.close()
        with pytest.raises(Interrupted):
            cluster.result(30)
