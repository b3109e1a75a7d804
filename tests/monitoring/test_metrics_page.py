import pytest

from batchgrad_service.metrics.registry import exposition
from tests.cpu_time import cpu_seconds, least_seconds
from tests.monitoring.busy import busy_registry
from tests.monitoring.metrics_page import PAGE, page

SCRAPE_SECONDS = 0.03


def test_the_metrics_page_matches_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "Write it again: python -m tests.monitoring.metrics_page"
    )


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_fifty_jobs_are_scraped_quickly(accept: str) -> None:
    registry = busy_registry(50)
    text, _ = exposition(registry, accept)
    assert text.count(b"batchgrad_job_layer_shortcut_relative_error{") == 50 * 2 * 8
    seconds = least_seconds(lambda: cpu_seconds(lambda: exposition(registry, accept)))
    assert seconds < SCRAPE_SECONDS
