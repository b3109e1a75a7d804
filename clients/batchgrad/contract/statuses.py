"""A job's statuses, and the changes between them that are allowed."""

from collections.abc import Mapping
from typing import Literal, get_args

__all__ = ["JOB_STATUSES", "TERMINAL", "TRANSITIONS", "JobStatus"]

JobStatus = Literal[
    "queued",
    "starting",
    "running",
    "recovering",
    "pausing",
    "paused",
    "cancelling",
    "succeeded",
    "failed",
    "cancelled",
]
JOB_STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)

_LONGER = "resume with more epochs or steps"

TRANSITIONS: Mapping[JobStatus, Mapping[JobStatus, str]] = {
    "queued": {  # a new job begins here
        "starting": "an attempt begins",
        "paused": "pause, while it has no engine",
        "cancelled": "cancel, while it has no engine",
    },
    "starting": {  # the attempt's engine reads data and parameters, or waits for its cluster
        "running": "the engine reports that it starts to train",
        "recovering": "the engine, its cluster, the service or disk space is gone",
        "pausing": "pause",
        "cancelling": "cancel",
        "succeeded": "the engine reports it",
        "failed": "the engine reports it, or died more than max_restarts times",
    },
    "running": {
        "recovering": "the engine, its cluster, the service or disk space is gone",
        "pausing": "pause",
        "cancelling": "cancel",
        "succeeded": "the engine reports it",
        "failed": "the engine reports it, or died more than max_restarts times",
    },
    "recovering": {  # waits for the next attempt, from the newest checkpoint
        "starting": "an attempt begins",
        "paused": "pause, while it has no engine",
        "cancelled": "cancel, while it has no engine",
    },
    "pausing": {
        "paused": "the engine has ended",
        "cancelling": "cancel",
        "succeeded": "the engine was done before it could pause",
        "failed": "the engine failed before it could pause",
    },
    "paused": {
        "queued": "resume",
        "cancelled": "cancel, while it has no engine",
    },
    "cancelling": {
        "cancelled": "the engine has ended",
        "succeeded": "the engine was done before it could end",
        "failed": "the engine failed before it could end",
    },
    "succeeded": {"queued": _LONGER},
    "failed": {"queued": _LONGER},
    "cancelled": {"queued": _LONGER},
}
"""Each status, the statuses that may follow it, and what causes each change."""

TERMINAL: frozenset[JobStatus] = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses of a job that has ended: it changes no more by itself, and can be deleted."""


def statuses_before(status: JobStatus) -> frozenset[JobStatus]:
    """Return the statuses from which a job may change to `status`."""
    return frozenset(known for known in JOB_STATUSES if status in TRANSITIONS[known])


def describe_transitions() -> str:
    """Return the table as one line of text for each status that another may follow."""
    lines = [
        f"{status} → {', '.join(following)}"
        for status, following in TRANSITIONS.items()
        if following
    ]
    return "\n".join(lines)
