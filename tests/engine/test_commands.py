"""`CommandReader`: what an engine reads on its stdin."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

import pytest

from batchgrad_engine.commands import CommandReader
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
        assert cluster.result(10) == found
        writing.close()
        commands._thread.join(10)
        assert commands.ledger_wanted()
        assert commands.command == "pause"
        assert stored == [7]
        assert commands.interrupted


def test_waiting_for_a_cluster_stops_when_the_engine_must_exit() -> None:
    stored: list[int] = []
    reading, writing = pipe()
    with reading, ThreadPoolExecutor(1) as pool:
        commands = CommandReader(reading, stored.append)
        cluster = pool.submit(commands.cluster, lambda: commands.interrupted)
        writing.close()
        with pytest.raises(Interrupted):
            cluster.result(10)
