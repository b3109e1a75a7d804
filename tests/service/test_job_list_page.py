"""The list of jobs as a page: filters, paging, bars, labels."""

import re
from html import unescape

import pytest

from batchgrad.display.numbers import duration
from tests.service.building import create, report, row, started
from tests.service.conftest import Bench


def listed(page: str) -> list[str]:
    """The names of the jobs that a page lists."""
    return re.findall(r'<th scope="row"><a [^>]*>([^<]*)</a>', page)


def test_the_url_filters_and_paging_keeps_the_filter(bench: Bench) -> None:
    for number in range(60):
        create(bench.store, name=f"wide-{number}", labels={"team": "blue"})
    create(bench.store, name="narrow")
    query = "search=wide&status=queued&label=team%3Dblue"
    first = bench.http.get(f"/?{query}").text
    assert len(listed(first)) == 50
    assert "narrow" not in first
    assert 'name="search" value="wide"' in first
    assert '<option value="queued" selected>' in first
    older = re.search(r'href="\./(\?[^"]*)">Older jobs', first)
    assert older
    rest = bench.http.get(f"/{unescape(older.group(1))}").text
    assert listed(rest) == [f"wide-{number}" for number in range(9, -1, -1)]
    assert f'href="./?{query.replace("&", "&amp;")}">Newest' in rest


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?search=&status=&label=", ["waiting", "ended"]),
        ("?status=succeeded", ["ended"]),
        ("?status=queued,starting,running,recovering,pausing,paused,cancelling", ["waiting"]),
        ("?status=queued,succeeded", ["waiting", "ended"]),
    ],
)
def test_jobs_are_listed_by_state(bench: Bench, query: str, names: list[str]) -> None:
    job_id, attempt = started(bench.store, name="ended")
    bench.store.transition(job_id, to="succeeded", allowed=["running"], attempt=attempt)
    create(bench.store, name="waiting")
    page = bench.http.get(f"/{query}").text
    assert listed(page) == names
    status = query.partition("status=")[2].partition("&")[0]
    assert f'<option value="{status}" selected>' in page


def test_a_filter_without_jobs_says_so(bench: Bench) -> None:
    create(bench.store)
    page = bench.http.get("/?search=nothing").text
    assert "No job is like this." in page
    assert "No jobs yet" not in page
    assert bench.http.get("/?label=team").status_code == 422


def test_the_bar_of_a_job_that_stopped_early_is_full(bench: Bench) -> None:
    early, attempt = started(bench.store, name="early")
    bench.store.record_report(early, attempt, report(row(1), row(2)))
    bench.store.transition(early, to="succeeded", allowed=["running"], attempt=attempt)
    failed, attempt = started(bench.store, name="failed")
    bench.store.record_report(failed, attempt, report(row(1)))
    bench.store.transition(failed, to="failed", allowed=["running"], attempt=attempt)
    page = bench.http.get("/").text
    assert '<progress max="2" value="2" aria-label="100% of early">' in page
    assert '2/20 <span title="training stopped early">early</span>' in page
    assert '<progress max="20" value="1" aria-label="5% of failed">' in page


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0231, "0.0231 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (90_000, "1 d 01 h"),
    ],
)
def test_durations_have_two_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_private_job_s_duration_is_not_told(bench: Bench) -> None:
    for changes in ({}, {"privacy": {"epsilon": 1, "delta": 1e-3, "clip_norm": 1}}):
        started(bench.store, **changes)
    page = bench.http.get("/").text
    private, other = re.findall(r'data-title="duration">([^<]*)<', page)
    assert private == "–"
    assert other.endswith(" s")


def test_moments_are_in_utc_with_their_date_and_labels_lead_to_their_jobs(bench: Bench) -> None:
    job = create(bench.store, labels={"team": "a&b", "sweep": "rates"})
    page = bench.http.get("/").text
    told = f"{job.created_at:%Y-%m-%d %H:%M:%S} UTC"
    assert f'<time datetime="{job.created_at.isoformat()}">{told}</time>' in page
    assert 'href="./?label=team%3Da%26b"' in page
    assert 'href="./jobs/compare?label=sweep%3Drates"' in page
    assert listed(bench.http.get("/?label=team%3Da%26b").text) == ["digits"]
