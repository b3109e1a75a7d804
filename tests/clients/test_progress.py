"""The display of a followed job, with a terminal and without."""

import io
from typing import Any

from batchgrad.contract import Job
from batchgrad.display.live.job import JobDisplay


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_figures_are_drawn_in_place(kit: Any) -> None:
    terminal = Terminal()
    with JobDisplay(terminal) as display:
        display.update(Job.model_validate(kit.job()))
        display.update(Job.model_validate(kit.job(status="succeeded", step=18)))
    drawn = terminal.getvalue()
    assert "step 18/18" in drawn
    for text in ("0.25", "97.50%", "gap of averaged_error", "12,345", "2 Ray workers, 1 thread"):
        assert text in drawn


def test_without_a_terminal_nothing_is_written_unless_lines_are_requested(kit: Any) -> None:
    silent, lines = io.StringIO(), io.StringIO()
    jobs = [kit.job(epoch=epoch) for epoch in range(12)]
    for stream, every in ((silent, None), (lines, 5)):
        with JobDisplay(stream, lines_every_epochs=every) as display:
            for job in jobs:
                display.update(Job.model_validate(job))
    assert silent.getvalue() == ""
    assert [line.split()[2] for line in lines.getvalue().splitlines()] == ["0", "5", "10"]


def test_off_a_terminal_a_line_now_and_then(kit: Any) -> None:
    lines, now = io.StringIO(), 0.0
    with JobDisplay(lines, lines_every_seconds=5.0, clock=lambda: now) as display:
        for step in range(1, 13):
            display.update(Job.model_validate(kit.job(step=step)))
            now += 1.0
        display.update(Job.model_validate(kit.job(step=18, status="succeeded")))
        display.note("Something else.")
    written = lines.getvalue().splitlines()
    assert [line.split()[4] for line in written[:-1]] == ["1/18", "6/18", "11/18", "18/18"]
    assert written[-1] == "Something else."
