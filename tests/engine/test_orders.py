"""What an engine reads on its stdin."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

import pytest

from batchgrad_engine.commands import CommandReader
from batchgrad_engine.executors.factory import Interrupted
from batchgrad_engine.messages import ClusterFound, Command, Stored


def pipe() -> tuple[TextIO, TextIO]:
    reading, writing = os.pipe()
    return os.fdopen(reading), os.fdopen(writing, "w", buffering=1)


def test_a_cluster_is_waited_for_while_orders_go_on() -> None:
    found = ClusterFound(address="127.0.0.1:1", environment={"A": "b"})
    stored: list[int] = []
    reading, writing = pipe()
    with reading, writing, ThreadPoolExecutor(1) as pool:
        orders = CommandReader(reading, stored.append)
        cluster = pool.submit(orders.cluster, lambda: orders.interrupted)
        told = (Command(command="ledger"), found, Stored(stored=7), Command(command="pause"))
        for message in told:
            writing.write(message.model_dump_json() + "\n")
        assert cluster.result(10) == found
        writing.close()
        orders._thread.join(10)
        assert orders.ledger_wanted()
        assert orders.command == "pause"
        assert stored == [7]
        assert orders.interrupted


def test_nobody_waits_for_a_cluster_when_the_engine_has_to_go() -> None:
    stored: list[int] = []
    reading, writing = pipe()
    with reading, ThreadPoolExecutor(1) as pool:
        orders = CommandReader(reading, stored.append)
        cluster = pool.submit(orders.cluster, lambda: orders.interrupted)
        writing.close()
        with pytest.raises(Interrupted):
            cluster.result(10)
