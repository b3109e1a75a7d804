"""Texts and errors that say why workers have not started. Does not import Ray."""

from collections import Counter

from batchgrad_engine.executors.protocol import ClusterLost
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot
from batchgrad_engine.failures import NoWorkers

NO_FREE_CPUS = (
    "The cluster has no CPUs free for a worker (ray status shows what uses them): the job waits, "
    "and starts as soon as CPUs are free."
)


def some_wait(wanted: int, seconds: float) -> str:
    """Some of the `wanted` workers have no CPUs yet; the start waits up to `seconds` for them."""
    return (
        f"Some of the {wanted} Ray workers have no CPUs yet (ray status shows what uses them): the "
        f"job waits up to {seconds:g} s for all of them, then trains with those that have started; "
        "the others join when they get CPUs."
    )


def could_fit(nodes: Nodes, slots: Counter[WorkerSlot]) -> bool:
    """Whether a slot would fit if all CPUs were free. True without nodes: some may join."""
    largest = max(nodes.cpus.values(), default=0)
    return not nodes.cpus or any(
        slot.cpus <= (nodes.cpus.get(slot.node, 0) if slot.node else largest) for slot in slots
    )


def none_started(
    nodes: Nodes, slots: Counter[WorkerSlot], seconds: float, all_lost: bool, failure: str
) -> ClusterLost | NoWorkers:
    """The error when no worker started in `slots` within `seconds`.

    `all_lost`: there were workers before. `failure` is why the last launch failed; "" if unknown,
    as with a restarted head: it starts no actors for a driver of the old one.
    """
    text = _none_started(nodes, slots, seconds, all_lost, failure)
    unexplained = could_fit(nodes, slots) and not failure
    return ClusterLost(text) if all_lost or unexplained else NoWorkers(text)


def _none_started(
    nodes: Nodes, slots: Counter[WorkerSlot], seconds: float, all_lost: bool, failure: str
) -> str:
    none = f"None of {slots.total()} Ray workers started within {seconds:g} s"
    if all_lost:
        none += " after all were lost"
    if failure:
        return f"{none}: {failure.rstrip('.')}."
    if could_fit(nodes, slots):
        return f"{none}, and Ray gives no reason: look at the cluster (ray status)."
    least = min((slot.cpus for slot in slots), default=1)
    return (
        f"{none}: one needs {least:g} CPUs on one node, and the cluster's largest node has "
        f"{max(nodes.cpus.values())}. Use fewer threads, or add a larger node."
    )
