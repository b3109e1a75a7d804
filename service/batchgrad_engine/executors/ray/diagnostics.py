"""Why no worker comes, in words. Knows no Ray."""

from collections import Counter

from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot

NO_ROOM = (
    "The cluster has no CPUs free for a worker (ray status shows who has them): the job waits, "
    "and starts as soon as there are some."
)


def some_room(wanted: int, seconds: float) -> str:
    """Fewer workers than were asked for have CPUs; the start waits for the others so long."""
    return (
        f"Some of the {wanted} Ray workers have no CPUs yet (ray status shows who has them): the "
        f"job waits {seconds:g} s for all of them at most, then trains with those that are there; "
        "who gets CPUs later joins."
    )


def could_hold(nodes: Nodes, seats: Counter[WorkerSlot]) -> bool:
    """Whether one of the seats has room when nobody else is there; to no nodes some may come."""
    largest = max(nodes.cpus.values(), default=0)
    return not nodes.cpus or any(
        seat.cpus <= (nodes.cpus.get(seat.node, 0) if seat.node else largest) for seat in seats
    )


def nobody_came(
    nodes: Nodes, seats: Counter[WorkerSlot], seconds: float, lost: bool, failure: str
) -> str:
    """Workers were wanted in `seats` for so long; `lost`: once there were some.

    `failure` is what went wrong with the last one that was started, if anything did.
    """
    none = f"None of {seats.total()} Ray workers started within {seconds:g} s"
    if lost:
        none += " after all were lost"
    if failure:
        return f"{none}: {failure.rstrip('.')}."
    if could_hold(nodes, seats):
        return f"{none}, and Ray does not say why: look at the cluster (ray status)."
    least = min((seat.cpus for seat in seats), default=1)
    return (
        f"{none}: one needs {least:g} CPUs on one node, and the cluster's largest node has "
        f"{max(nodes.cpus.values())}. Ask for fewer threads, or add a larger node."
    )
