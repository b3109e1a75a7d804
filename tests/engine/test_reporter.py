"""What happens in an executor is passed on."""

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

HAPPENINGS = [Happening("plan", {"workers": 0}), Happening("warning", {"detail": "Ray failed"})]


class Eventful(InlineExecutor):
    """Much has happened to it."""

    def drain(self) -> list[Happening]:
        return HAPPENINGS


def test_it_goes_before_the_report(dataset: Path) -> None:
    sent: list[Any] = []
    with closing(Eventful(prepare(spec(), DatasetSource(dataset), None).setup, 1)) as executor:
        reporter = Reporter(sent.append, executor)
        reporter.phase("checkpoint", 0.1)
        reporter.flush()
    assert [each.event for each in sent if isinstance(each, Happened)] == [
        each.event for each in HAPPENINGS
    ]
    assert isinstance(sent[-1], SentReport)
