"""The time between reports: short at first, later a second, and short where steps are many."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from batchgrad_engine.executors.protocol import Executor, Traffic
from batchgrad_engine.measurement.measuring import Measured
from batchgrad_engine.messages import ClusterSeen
from batchgrad_engine.reporter import STEPS, Reporter
from batchgrad_engine.step_results import Stopwatch
from batchgrad_workers.arrays import Floats

INLINE = cast(
    "Executor",
    SimpleNamespace(workers=0, threads=1, kind="inline", traffic=Traffic, cluster=ClusterSeen),
)


def steps(count: int) -> Measured:
    """As many steps of one example, with the figures that a report looks at."""
    figures: Floats = np.ones(count)
    return Measured(
        columns={"step": tuple(range(count)), "loss": (1.0,) * count},
        watches=[Stopwatch() for _ in range(count)],
        examples=count,
        ids=np.arange(count),
        losses=figures,
        norms=figures,
        histogram=np.zeros(1, np.int64),
        dropped=[],
    )


@pytest.mark.parametrize(
    ("age", "interval"), [(0.0, 0.2), (2.0, 0.2), (4.0, 0.4), (10.0, 1.0), (9999.0, 1.0)]
)
@pytest.mark.parametrize("count", [1, STEPS - 1, STEPS])
def test_reports_are_a_tenth_of_the_age_apart(age: float, interval: float, count: int) -> None:
    now, sent = 100.0, list[Any]()
    reporter = Reporter(sent.append, INLINE, clock=lambda: now)
    now += age - interval
    reporter.warn(1, "Something to report.")
    reporter.flush()
    reporter.add(steps(count))
    wanted = 0.2 if count == STEPS else interval

    due = []
    for passed in (wanted - 0.01, 0.02):
        now += passed
        due.append(reporter.due)
    assert due == [False, True]

    reporter.flush()
    assert not reporter.due
    assert len(sent) == 2
