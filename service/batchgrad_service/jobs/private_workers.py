"""How many workers a job may have on the private Ray cluster, which is this machine."""

import os

from batchgrad.contract import JobSpec, WorkerRange
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.memory import machine_bytes

PER_CPU = 4
"""More than one: to try a large crew on a small machine is what the private cluster is for."""

PROCESS_BYTES = 256 * 2**20
"""A worker with Ray, numpy and numba, before it computes."""


def check_private_workers(
    spec: JobSpec, step_bytes: int, *, cpus: int | None = None, memory_bytes: int | None = None
) -> None:
    """Refuse a crew that would fill the machine; `step_bytes` is what a step takes in a process.

    `cpus` and `memory_bytes` are the machine's own unless given. Together the workers may have
    half of its memory.

    Raises:
        InvalidError: the job wants more workers than the machine can hold.
    """
    cpus = len(os.sched_getaffinity(0)) if cpus is None else cpus
    memory_bytes = machine_bytes() if memory_bytes is None else memory_bytes
    each = PROCESS_BYTES + step_bytes
    most = min(PER_CPU * cpus, max(1, memory_bytes // 2 // each))
    pointer = "/workers/min" if isinstance(spec.workers, WorkerRange) else "/workers"
    wanted = spec.workers.min if isinstance(spec.workers, WorkerRange) else spec.workers
    if isinstance(wanted, int) and wanted > most:
        raise InvalidError.field(
            pointer,
            f"got {wanted} workers; this machine, on which the service's private Ray cluster is, "
            f"holds {most} ({PER_CPU} for each of {cpus} CPUs, and {each / 2**20:.0f} MiB each in "
            f"half of {memory_bytes / 2**30:.1f} GiB): take fewer, or start the service on a "
            "cluster (--ray-address).",
            code="too_many_workers",
        )
