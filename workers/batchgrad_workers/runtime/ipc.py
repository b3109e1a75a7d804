"""What an engine and a worker on its machine say to each other over a Unix socket.

A packet a message, a few bytes each: `Command`s one way, `Reply`s the other. The numbers
themselves lie in shared memory, θ in the engine's and sums in the worker's own; each side hands
over the descriptor of its memory with the first message that needs it. Whoever dies is known at
once by the end of the connection.
"""

import json
import mmap
import os
import socket
import traceback
from dataclasses import fields
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from batchgrad_workers.arrays import Floats
from batchgrad_workers.nn.gradients import GradientSums
from batchgrad_workers.reduction.tree import Node
from batchgrad_workers.runtime.shard import RangeSums, ShardRunner
from batchgrad_workers.runtime.shared_memory import Outbox, Place, array_at, mapped

PACKET_BYTES = 1 << 17
"""More than any message has: a reply names at most some forty nodes, or holds a traceback."""

TROUBLE_CHARACTERS = 8000

Work = Literal["gradient", "evaluation"]


class ConnectInfo(NamedTuple):
    """Where a worker on Ray's node `node` reaches its engine, and what it says there first."""

    node: str
    address: str
    token: bytes


class Command(NamedTuple):
    """Compute microbatches [start, stop) of a step at θ. `call` numbers the engine's requests."""

    call: int
    work: Work
    step: int
    start: int
    stop: int


class Reply(NamedTuple):
    """A `RangeSums` but for its numbers: which arrays stand where; or the trouble instead."""

    call: int
    start: int
    stop: int
    seconds: float
    nodes: list[tuple[int, int]]
    places: list[Place]
    trouble: str | None = None
    out_of_memory: bool = False


def connect(offer: ConnectInfo) -> socket.socket:
    """A connection to the engine.

    Raises:
        OSError: there is no way to it, so arrays have to travel through Ray.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect("\0" + offer.address)
        connection.send(offer.token)
    except OSError:
        connection.close()
        raise
    return connection


def serve(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
    """Obey commands until the connection ends. `dtype` is that of θ."""
    outbox = Outbox()
    memory: mmap.mmap | None = None
    with connection:
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(connection, PACKET_BYTES, 1)
            except ConnectionError:
                return
            if not packet:
                return
            for descriptor in descriptors:
                memory = mapped(descriptor)
                os.close(descriptor)
            command = Command(*json.loads(packet))
            reply, handed = _obey(command, shard, memory, dtype, outbox)
            try:
                socket.send_fds(connection, [json.dumps(reply).encode()], handed)
            except ConnectionError:
                return
            finally:
                for descriptor in handed:
                    os.close(descriptor)


def _obey(
    command: Command, shard: ShardRunner, memory: mmap.mmap | None, dtype: str, outbox: Outbox
) -> tuple[Reply, list[int]]:
    call, work, step, start, stop = command
    try:
        if memory is None:
            raise ValueError("the first command came without θ.")  # noqa: TRY301  # told as any other
        parameters = np.frombuffer(memory, dtype, shard.network.size)
        parameters.flags.writeable = False
        result: RangeSums[Any] = (
            shard.gradient_sums(step, parameters, start, stop)
            if work == "gradient"
            else shard.evaluation_sums(parameters, start, stop)
        )
        places, handed = outbox.put(call, flat(result))
    except Exception as error:  # noqa: BLE001  # whatever it is, the engine must learn of it
        text = traceback.format_exc()[-TROUBLE_CHARACTERS:]
        short = isinstance(error, MemoryError)
        return Reply(call, start, stop, 0.0, [], [], str(error) if short else text, short), []
    nodes = [(node.level, node.index) for node in result.nodes]
    return Reply(call, start, stop, result.seconds, nodes, places), handed


def flat(result: RangeSums[Any]) -> list[Any]:
    """All its arrays: losses, norms, and those of each node's sums in order."""
    arrays = [result.losses, result.norms]
    for node in result.nodes:
        arrays += (
            [getattr(node.sum, field.name) for field in fields(node.sum)]
            if isinstance(node.sum, GradientSums)
            else [node.sum]
        )
    return arrays


def read(packet: bytes) -> Reply:
    """A worker's message."""
    return Reply(*json.loads(packet))


def result(reply: Reply, work: Work, memory: mmap.mmap | None) -> RangeSums[Any]:
    """What the worker computed, on its memory: valid until the engine's next call.

    Raises:
        MemoryError: the worker ran out of it.
        RuntimeError: the worker failed otherwise; with its traceback.
    """
    if reply.out_of_memory:
        raise MemoryError(f"A worker ran out of memory: {reply.trouble}")
    if reply.trouble is not None or memory is None:
        raise RuntimeError(f"A worker failed: {reply.trouble or 'it sent no memory.'}")
    losses, norms, *arrays = (array_at(memory, place) for place in reply.places)
    each = len(fields(GradientSums)) if work == "gradient" else 1
    sums: list[list[Any]] = [
        list(arrays[first : first + each]) for first in range(0, len(arrays), each)
    ]
    nodes: list[Node[Any]] = [
        Node(level, index, GradientSums(*own) if work == "gradient" else own[0])
        for (level, index), own in zip(reply.nodes, sums, strict=True)
    ]
    return RangeSums(reply.start, reply.stop, nodes, losses, cast("Floats", norms), reply.seconds)
