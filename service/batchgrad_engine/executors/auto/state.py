"""The states of `auto` and their transitions; docs/explanation/scheduling.md draws them."""

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """What `auto` does between two steps. Training never waits for it."""

    MEASURING = "measuring"
    """Steps of the current configuration are timed."""

    CONNECTING = "connecting"
    """The engine trains alone; a thread connects to the cluster and queries its nodes."""

    STARTING = "starting"
    """The engine trains alone; a thread starts the workers of a configuration."""

    SETTLED = "settled"
    """The fastest configuration is in use; the cluster's nodes are watched, if they can change."""


TRANSITIONS: Mapping[State, Mapping[State, str]] = {
    State.MEASURING: {
        State.MEASURING: "the next configuration needs no other workers",
        State.CONNECTING: "every number of threads is measured, and Ray could save its cost",
        State.STARTING: "the next configuration, or the fastest one, needs other workers",
        State.SETTLED: "everything is measured, Ray cannot save its cost, or Ray failed",
    },
    State.CONNECTING: {
        State.STARTING: "the nodes are known, and Ray could save its cost",
        State.SETTLED: "Ray cannot save its cost, has no room for a worker, or failed",
    },
    State.STARTING: {
        State.MEASURING: "the workers are ready, and their configuration is not measured yet",
        State.SETTLED: "the workers of the fastest configuration are ready, or Ray failed",
    },
    State.SETTLED: {
        State.STARTING: "the engine trains alone, the nodes changed, and Ray could save its cost",
        State.SETTLED: "Ray failed, or it came back and cannot save its cost",
    },
}
"""For each state the states that may follow, and when they do."""


def check_transition(before: State, after: State) -> None:
    """Raises RuntimeError if `TRANSITIONS` does not have it: that is a bug of `auto`."""
    if after not in TRANSITIONS[before]:
        allowed = ", ".join(state.value for state in TRANSITIONS[before])
        raise RuntimeError(f"auto can go from {before.value} to {allowed}; not to {after.value}.")
