"""The limits on a job's workers and GPUs on the private Ray cluster, which is this machine."""

import os
from pathlib import Path

from batchgrad.contract import JobSpec, WorkerRange
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.memory import machine_bytes

PER_CPU = 4
"""More than one, so that many workers can be tried on a small machine."""

GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")
"""Device files of NVIDIA's and AMD's GPUs, and of those of Windows in its subsystem for Linux."""

PROCESS_BYTES = 256 * 2**20
"""The memory of a worker with Ray, numpy and numba, before it computes."""


def check_private_workers(
    spec: JobSpec, step_bytes: int, *, cpus: int | None = None, memory_bytes: int | None = None
) -> None:
    """Refuse more workers than the machine can hold; a step takes `step_bytes` in each.

    `cpus` and `memory_bytes` are the machine's unless given. Together the workers may use half of
    the memory.

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
            f"got {wanted} workers; the service's private Ray cluster, on this machine, holds at "
            f"most {most} ({PER_CPU} per CPU of {cpus} CPUs, and {each / 2**20:.0f} MiB each in "
            f"half of {memory_bytes / 2**30:.1f} GiB): use fewer, or start the service with a "
            "cluster of your own (--ray-address).",
            code="too_many_workers",
        )


def check_private_gpus(spec: JobSpec, devices: Path = Path("/dev")) -> None:
    """Refuse GPUs on a machine without one; `devices` is the folder of its device files.

    Raises:
        InvalidError: the job wants GPUs, and there is none.
    """
    if spec.num_gpus and not any(any(devices.glob(pattern)) for pattern in GPU_FILES):
        raise InvalidError.field(
            "/num_gpus",
            f"got num_gpus {spec.num_gpus:g}; the service's private Ray cluster is this machine, "
            "which has no GPU: remove num_gpus, or start the service with a cluster of your own "
            "(--ray-address).",
            code="no_gpus",
        )
