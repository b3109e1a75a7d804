"""What is counted of what happens to workers."""

from contextlib import closing
from pathlib import Path
from typing import Any

from batchgrad_service.engine.executors import Happening
from batchgrad_service.engine.executors.inline import InlineExecutor
from batchgrad_service.engine.messages import Happened, SentReport
from batchgrad_service.engine.preparation import prepare
from batchgrad_service.engine.reporter import Reporter
from batchgrad_workers.source import DatasetSource
from tests.engine.small_job import spec

HAPPENINGS = [
    *(
        Happening("worker_lost", {"reason": reason})
        for reason in ("died", "silent", "start_failed", "dismissed")
    ),
    *(Happening("retry", {"reason": "slow", "microbatches": count}) for count in (2, 3)),
]


class Eventful(InlineExecutor):
    """Much has happened to it."""

    def drain(self) -> list[Happening]:
        return HAPPENINGS


def test_lost_is_who_was_there_and_is_missed(dataset: Path) -> None:
    sent: list[Any] = []
    with closing(Eventful(prepare(spec(), DatasetSource(dataset), None).setup, 1)) as executor:
        reporter = Reporter(sent.append, executor)
        reporter.phase("checkpoint", 0.1)
        reporter.flush()
    assert [each.event for each in sent if isinstance(each, Happened)] == [
        each.event for each in HAPPENINGS
    ]
    [report] = [each for each in sent if isinstance(each, SentReport)]
    assert report.observed.workers_lost == 2
    assert report.observed.retries == {"slow": 5}
