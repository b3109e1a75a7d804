"""Limit the links between the tests' hosts, and measure the throughput of plain TCP."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.scaling.measured import Sent
from tests.cluster.cluster import MOUNTED, START_SECONDS, Cluster, until
from tests.cluster.hosts import Host

SENT_PORT = 8800
SECONDS_SENT = (0.3, 1.5)
FREE_MEGABITS = 10_000
"""Rate that sets the bytes to send by plain TCP on unlimited links, times `SECONDS_SENT`."""

SINK = """
import socket
with socket.create_server(("", {port})) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    with connection:
        left = {size}
        while left:
            left -= len(connection.recv(1 << 20))
        connection.send(b"!")
"""
SOURCE = """
import socket, time
block = bytes(1 << 20)
with socket.create_connection(("{address}", {port})) as connection:
    start, left = time.perf_counter(), {size}
    while left:
        left -= connection.send(block[:left])
    connection.recv(1)
    print(time.perf_counter() - start)
"""


@contextmanager
def shaped(hosts: Sequence[Host], megabits: int | None) -> Iterator[None]:
    """Limit all links to `megabits` per second in each direction while the block runs."""
    if megabits is None:
        yield
        return
    for host in hosts:
        host.shape(megabits)
    try:
        yield
    finally:
        for host in hosts:
            host.shape(None)


def send(cluster: Cluster, megabits: int | None, seconds: float) -> Sent:
    """Send by plain TCP from the head to the second host for about `seconds`."""
    size = int((megabits or FREE_MEGABITS) * 1e6 / 8 * seconds)
    head, other = cluster.hosts[:2]
    log = MOUNTED / "sink.log"
    log.unlink(missing_ok=True)
    values = {"port": SENT_PORT, "size": size, "address": other.address}
    sink = other.start(sys.executable, "-c", SINK.format(**values), log=log)
    until(lambda: log.stat().st_size, START_SECONDS, "the receiver does not listen")
    took = float(head.run(sys.executable, "-c", SOURCE.format(**values)))
    sink.wait()
    return Sent(megabits, size, took)
