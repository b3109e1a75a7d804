"""Estimate the memory of a step or a gradients request from shapes; refuse what does not fit."""

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

from batchgrad.contract import DEFAULT_MICROBATCH, GradientsRequest, JobSpec
from batchgrad_engine.training.memory import (
    job_bytes,
    microbatch_numbers,
    outputs_size,
    workspace_size,
)
from batchgrad_service.problems import InvalidError
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network

CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Files with a container's memory limit: control groups version 2 and 1."""

MAX_MEANS = 1 << 26

MAX_RESPONSE_NUMBERS = 1 << 21
"""Numbers in a response's gradients: 40 MB of JSON."""

MAX_REQUEST_MEANS = 1 << 23
MAX_REQUEST_NUMBERS = 1 << 25
"""Numbers in a microbatch of a gradients request: 256 MiB in float64."""


def check_job_memory(spec: JobSpec, network: Network, *, averaged: bool) -> int:
    """Bytes that the job's engine needs with one thread. `averaged`: shortcuts need means.

    Raises:
        InvalidError: the machine has less memory, or the shortcuts need too many means.
    """
    means = MeansLayout(network).size if averaged else 0
    if means > MAX_MEANS:
        raise InvalidError.field(
            "/shortcuts",
            f"The shortcuts average {means} numbers at every step; the limit is {MAX_MEANS}. An "
            "embedding has one for each position and id. Set shortcuts: [].",
        )
    needed = job_bytes(spec, network, means)
    memory = machine_bytes()
    if needed > memory:
        raise InvalidError.field(
            "/model",
            f"{_sizes(network, spec.microbatch)} need about {needed / 2**30:.0f} GiB of memory; "
            f"this machine has {memory / 2**30:.0f} GiB: use narrower layers, a smaller kernel or "
            "a smaller microbatch_size.",
        )
    return needed


def machine_bytes(limits: Sequence[Path] = CONTAINER_LIMITS) -> int:
    """The memory of this machine, or the limit of this container."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = [path.read_text().strip() for path in limits if path.is_file()]
    return min([machine, *(int(limit) for limit in found if limit.isdigit())])  # "max" is no limit


def check_request_memory(request: GradientsRequest, network: Network, examples: int) -> None:
    """Check the size of a gradients request's response, and of what it needs to compute it.

    Raises:
        InvalidError: it is too large; the message says what to reduce.
    """
    means = MeansLayout(network).size
    if means > MAX_REQUEST_MEANS:
        raise InvalidError.field(
            "/model",
            f"The shortcuts average {means} numbers; the limit is {MAX_REQUEST_MEANS}. An "
            "embedding has one for each position and id. Use narrower layers, or fewer positions "
            "or ids.",
        )
    gradients = 5 + (examples if request.per_example else 0)
    if network.size * gradients > MAX_RESPONSE_NUMBERS:
        raise InvalidError.field(
            "/model",
            f"The response would have {gradients} gradients of {network.size} numbers; the limit "
            f"is {MAX_RESPONSE_NUMBERS} numbers: use a smaller model, "
            + ("or set per_example: false." if request.per_example else "or submit a job."),
        )
    rows = min(examples, request.microbatch_size or DEFAULT_MICROBATCH)
    if microbatch_numbers(network, rows) > MAX_REQUEST_NUMBERS:
        raise InvalidError.field(
            "/model",
            f"{_sizes(network, rows)} are {microbatch_numbers(network, rows)} numbers; the limit "
            f"is {MAX_REQUEST_NUMBERS}: use narrower layers, a smaller kernel or a smaller "
            "microbatch_size.",
        )


def _sizes(network: Network, rows: int) -> str:
    inputs = prod(network.input_shape)
    activations = f"{rows} x ({inputs} inputs + {outputs_size(network)} activations)"
    sizes = f"{network.size} parameters, {activations}"
    patches = workspace_size(network)
    return f"{sizes} and {patches} numbers in patches of a convolution" if patches else sizes
