import time

import pytest

from batchgrad_service.metrics.registry import exposition
from tests.monitoring.busy import busy_registry
from tests.monitoring.metrics_page import PAGE, page

SCRAPE_SECONDS = 0.05


def test_the_metrics_page_matches_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "Write it again: python -m tests.monitoring.metrics_page"
    )


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_fifty_jobs_are_scraped_quickly(accept: str) -> None:
    registry = busy_registry(50)
    seconds = []
    for _ in range(5):
        began = time.process_time()  # CPU time: other processes may use the machine
        text, _ = exposition(registry, accept)
        seconds.append(time.process_time() - began)
    assert text.count(b"batchgrad_job_layer_shortcut_relative_error{") == 50 * 2 * 8
    assert min(seconds) < SCRAPE_SECONDS
