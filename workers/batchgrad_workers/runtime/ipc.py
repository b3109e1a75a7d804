"""Messages between an engine and a worker on its machine, over a Unix socket.

Each message is one packet of a few bytes: `ComputeRequest`s to the worker, `Reply`s to the engine.
Arrays are in shared memory, θ in the engine's and sums in the worker's; each side sends the
descriptor of its memory with the first message that needs it. When a process dies, the other side
sees the end of the connection at once.
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
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.reduction.tree import Node
from batchgrad_workers.runtime.shard import RangeSums, ShardRunner
from batchgrad_workers.runtime.shared_memory import Outbox, Place, array_at, mapped

PACKET_BYTES = 1 << 17
"""Above any message's size: a reply names at most about forty nodes, or holds a traceback."""

ERROR_CHARACTERS = 8000

Work = Literal["gradient", "evaluation"]


class ConnectInfo(NamedTuple):
    """The engine's address for a worker on Ray's node `node`, and the token to send first."""

    node: str
    address: str
    token: bytes


class ComputeRequest(NamedTuple):
    """Compute microbatches [start, stop) of a step at θ. `number` numbers the engine's requests.

    `clip_norm` is C of a private job.
    """

    number: int
    work: Work
    step: int
    start: int
    stop: int
    clip_norm: float | None = None


class Reply(NamedTuple):
    """A `RangeSums` with the places of its arrays in shared memory; or the error instead."""

    number: int
    start: int
    stop: int
    seconds: float
    nodes: list[tuple[int, int]]
    places: list[Place]
    error: str | None = None
    out_of_memory: bool = False


def connect(info: ConnectInfo) -> socket.socket:
    """Connect to the engine.

    Raises:
        OSError: the engine is not reachable, so arrays must be sent through Ray.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect("\0" + info.address)
        connection.send(info.token)
    except OSError:
        connection.close()
        raise
    return connection


def serve(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
    """Serve requests until the connection ends. `dtype` is θ's."""
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
            request = ComputeRequest(*json.loads(packet))
            reply, new_memory = _compute(request, shard, memory, dtype, outbox)
            try:
                socket.send_fds(connection, [json.dumps(reply).encode()], new_memory)
            except ConnectionError:
                return
            finally:
                for descriptor in new_memory:
                    os.close(descriptor)


def _compute(
    request: ComputeRequest,
    shard: ShardRunner,
    memory: mmap.mmap | None,
    dtype: str,
    outbox: Outbox,
) -> tuple[Reply, list[int]]:
    number, work, step, start, stop, clip_norm = request
    try:
        if memory is None:
            raise ValueError("the first request came without θ.")  # noqa: TRY301  # the reply reports it
        parameters = np.frombuffer(memory, dtype, shard.layout.size)
        parameters.flags.writeable = False
        result: RangeSums[Any] = (
            shard.gradient_sums(step, parameters, start, stop, clip_norm)
            if work == "gradient"
            else shard.evaluation_sums(parameters, start, stop)
        )
        places, new_memory = outbox.put(number, flat_arrays(result))
    except Exception as error:  # noqa: BLE001  # the engine must learn of any error
        out_of_memory = isinstance(error, MemoryError)
        text = str(error) if out_of_memory else traceback.format_exc()[-ERROR_CHARACTERS:]
        return Reply(number, start, stop, 0.0, [], [], text, out_of_memory), []
    nodes = [(node.level, node.index) for node in result.nodes]
    return Reply(number, start, stop, result.seconds, nodes, places), new_memory


def flat_arrays(result: RangeSums[Any]) -> list[Any]:
    """All arrays of a result: losses, norms, and those of each node's sums in order."""
    arrays = [result.losses, result.norms]
    for node in result.nodes:
        arrays += (
            [getattr(node.sum, field.name) for field in fields(node.sum)]
            if isinstance(node.sum, GradientSums)
            else [node.sum]
        )
    return arrays


def parse_reply(packet: bytes) -> Reply:
    """Parse a worker's packet."""
    return Reply(*json.loads(packet))


def range_sums(reply: Reply, work: Work, memory: mmap.mmap | None) -> RangeSums[Any]:
    """The worker's result, in the worker's memory: valid until the engine's next request.

    Raises:
        MemoryError: the worker ran out of memory.
        RuntimeError: the worker failed otherwise; with its traceback.
    """
    if reply.out_of_memory:
        raise MemoryError(f"A worker ran out of memory: {reply.error}")
    if reply.error is not None or memory is None:
        raise RuntimeError(f"A worker failed: {reply.error or 'it sent no memory.'}")
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
