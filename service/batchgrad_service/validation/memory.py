"""How much memory a step or an answer takes, from shapes alone: what cannot be held is refused."""

import os
from collections.abc import Sequence
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
"""Where a container's control group says its limit of memory: versions 2 and 1."""

MOST_MEANS = 1 << 26

MOST_ANSWERED = 1 << 21
"""Numbers in an answer's gradients: 40 MB of JSON."""

MOST_AVERAGED = 1 << 23
MOST_COMPUTED = 1 << 25
"""Numbers that an answer may take on the way: 256 MiB in float64."""


def check_job_memory(spec: JobSpec, network: Network, *, averaged: bool) -> int:
    """What the job's engine holds at least, with one thread; with shortcuts its means (`averaged`).

    Raises:
        InvalidError: this machine cannot hold it, or the shortcuts average too much.
    """
    means = MeansLayout(network).size if averaged else 0
    if means > MOST_MEANS:
        raise InvalidError.field(
            "/shortcuts",
            f"The shortcuts average {means} numbers at every step, at most {MOST_MEANS} are "
            "allowed (an embedding has one for each position and id): set shortcuts: [].",
        )
    needed = job_bytes(spec, network, means)
    memory = machine_bytes()
    if needed > memory:
        raise InvalidError.field(
            "/model",
            f"{_sizes(network, spec.microbatch)} need about {needed / 2**30:.0f} GiB, this machine "
            f"has {memory / 2**30:.0f} GiB: use narrower layers, a smaller kernel or a smaller "
            "microbatch_size.",
        )
    return needed


def machine_bytes(limits: Sequence[Path] = CONTAINER_LIMITS) -> int:
    """The memory of this machine, or what the container that this is may have of it."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    said = [path.read_text().strip() for path in limits if path.is_file()]
    return min([machine, *(int(limit) for limit in said if limit.isdigit())])  # not: max


def refuse_large_question(request: GradientsRequest, network: Network, examples: int) -> None:
    """Bound what an answer holds, and what it takes on the way, before it is spent.

    Raises:
        InvalidError: too much, with the remedy.
    """
    means = MeansLayout(network).size
    if means > MOST_AVERAGED:
        raise InvalidError.field(
            "/model",
            f"The shortcuts average {means} numbers, at most {MOST_AVERAGED} are allowed (an "
            "embedding has one for each position and id): use narrower layers, or fewer positions "
            "or ids.",
        )
    gradients = 5 + (examples if request.per_example else 0)
    if network.size * gradients > MOST_ANSWERED:
        raise InvalidError.field(
            "/model",
            f"The answer would hold {gradients} gradients of {network.size} numbers, at most "
            f"{MOST_ANSWERED} numbers are allowed: use a smaller model, "
            + ("or per_example: false." if request.per_example else "or submit a job."),
        )
    rows = min(examples, request.microbatch_size or DEFAULT_MICROBATCH)
    if microbatch_numbers(network, rows) > MOST_COMPUTED:
        raise InvalidError.field(
            "/model",
            f"{_sizes(network, rows)} are {microbatch_numbers(network, rows)} numbers at once, at "
            f"most {MOST_COMPUTED} are allowed: use narrower layers, a smaller kernel or a smaller "
            "microbatch_size.",
        )


def _sizes(network: Network, rows: int) -> str:
    sizes = f"{network.size} parameters, {rows} x {outputs_size(network)} activations"
    patches = workspace_size(network)
    return f"{sizes} and a convolution's {patches} numbers in patches" if patches else sizes
