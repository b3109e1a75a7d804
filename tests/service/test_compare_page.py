"""/jobs/compare: what differs, figures, their order, and what is refused."""

import json
import re
from html import unescape
from typing import Any

import pytest

from batchgrad.display.tables import columns
from tests.service.building import create, report, row, started
from tests.service.conftest import Bench

SGD = {"kind": "sgd", "learning_rate": 0.1}


def trained(bench: Bench, loss: float, **changes: Any) -> str:
    """A job that has succeeded with this loss."""
    job_id, attempt = started(bench.store, **changes)
    bench.store.record_report(job_id, attempt, report(row(1, loss)))
    bench.store.transition(job_id, to="succeeded", allowed=["running"], attempt=attempt)
    return job_id


def headings(page: str) -> list[str]:
    """The columns of the results that can be sorted by."""
    return re.findall(r"<a data-sort [^>]*>([^<]*)</a>", page)


def jobs(page: str) -> list[tuple[str, str]]:
    """The name and the series of each job of the results."""
    found = re.findall(r'<tr data-job="[^"]*" data-name="([^"]*)"([^>]*)>', page)
    return [
        (name, series.group(1) if (series := re.search(r'data-series="(\d+)"', rest)) else "")
        for name, rest in found
    ]


def test_only_keys_that_differ_are_shown_and_the_best_figure_is_marked(bench: Bench) -> None:
    one = trained(bench, 0.5, name="one")
    other = trained(bench, 0.25, name="other", optimizer={**SGD, "learning_rate": 0.3}, seed=4)
    page = bench.http.get(f"/jobs/compare?ids={one},{other}").text
    keys = ["optimizer.learning_rate", "seed"]
    assert headings(page) == [*keys, "loss", "duration", "gap of averaged_error"]
    assert re.findall(r"<td class=\"setting\">([^<]*)</td>", page) == ["0.1", "0", "0.3", "4"]
    assert re.findall(r'<span class="mark">best</span> ([^<]*)<', page) == ["0.2500"]
    assert jobs(page) == [("one", "0"), ("other", "1")]
    assert "What differs" not in page
    again = bench.http.get("/jobs/compare", params={"ids": [other, one, other]}).text
    assert jobs(again) == [("other", "0"), ("one", "1")]


def test_many_keys_have_a_table_of_their_own(bench: Bench) -> None:
    adam = {"kind": "adam", "learning_rate": 0.1}
    ids = [trained(bench, 1, name="a"), trained(bench, 1, name="b", optimizer=adam, seed=1)]
    page = bench.http.get(f"/jobs/compare?ids={ids[0]},{ids[1]}").text
    assert headings(page) == ["loss", "duration", "gap of averaged_error"]
    assert '<tr><th scope="row">optimizer.kind</th><td>sgd</td><td>adam</td></tr>' in page
    assert '<tr><th scope="row">optimizer.beta1</th><td>–</td><td>0.9</td></tr>' in page
    assert "optimizer.learning_rate" not in page
    assert 'class="mark">best' not in page  # the losses are the same


def test_jobs_are_sorted_by_a_column_and_keep_their_colours(bench: Bench) -> None:
    losses = {"a": 0.3, "b": 0.1, "c": 0.2}
    ids = ",".join(trained(bench, loss, name=name) for name, loss in losses.items())
    page = bench.http.get(f"/jobs/compare?ids={ids}&sort=loss&by=time").text
    assert jobs(page) == [("b", "1"), ("c", "2"), ("a", "0")]
    assert '<th scope="col" class="number" aria-sort="ascending">' in page
    link = re.search(r'data-sort id="sort-loss" href="\.\./(jobs/compare[^"]*)">loss<', page)
    assert link
    down = bench.http.get(f"/{unescape(link.group(1))}").text
    assert jobs(down) == [("a", "0"), ("c", "2"), ("b", "1")]
    assert 'value="time" checked' in down
    refused = bench.http.get(f"/jobs/compare?ids={ids}&sort=lose")
    assert refused.status_code == 422
    assert "sort is &#39;lose&#39;; expected one of loss, duration" in refused.text


def test_a_sweep_shows_its_best_first_with_axes_of_what_varies(bench: Bench) -> None:
    rates = [0.3, 0.1, 0.2]
    for number, rate in enumerate(rates):
        labels = {"sweep": "s"}
        optimizer = {**SGD, "learning_rate": rate}
        trained(bench, rate, name=f"j{number}", labels=labels, optimizer=optimizer)
    trained(bench, 0.01, name="other")
    page = bench.http.get("/jobs/compare?label=sweep%3Ds").text
    assert "<h1>Sweep s</h1>" in page
    assert jobs(page) == [("j1", "1"), ("j2", "2"), ("j0", "0")]
    found = re.search(r"data-axes='([^']*)' data-lines='([^']*)'", page)
    assert found
    axes, lines = json.loads(found.group(1)), json.loads(found.group(2))
    assert [axis["label"] for axis in axes] == [
        "optimizer.learning_rate",
        "loss",
        "gap of averaged_error",
    ]
    assert axes[0]["values"] == axes[1]["values"] == [0.1, 0.2, 0.3]
    assert [line["series"] for line in lines] == [1, 2, 0]


def test_of_many_jobs_the_best_have_colours(bench: Bench) -> None:
    for number in range(23):
        trained(bench, 1 + number, name=f"j{number}", labels={"n": "1"}, seed=number)
    page = bench.http.get("/jobs/compare?label=n%3D1").text
    assert jobs(page)[19:] == [("j19", "19"), ("j20", ""), ("j21", ""), ("j22", "")]
    assert "The 20 jobs with the best loss" in page


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("ids=job_a", 422, "ids names 1 job; expected 2 to 20 different ones"),
        ("ids=job_a,job_a", 422, "ids names 1 job;"),
        ("ids=job_a&ids=job_b", 404, "There is no job &#39;job_a&#39;"),
        ("ids=" + ",".join(f"job_{n}" for n in range(21)), 422, "ids names 21 jobs; expected 2 to"),
        ("label=sweep", 422, "expected KEY=VALUE"),
        ("label=sweep=none", 404, "No job has the label &#39;sweep=none&#39;"),
        ("ids=job_a,job_b&by=hour", 422, "by: Input should be"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    bench: Bench, query: str, status: int, told: str
) -> None:
    answer = bench.http.get(f"/jobs/compare?{query}")
    assert answer.status_code == status
    assert told in answer.text


def test_a_setting_of_any_name_and_kind_is_text() -> None:
    for value, text in (
        ("early", "early"),
        (True, "True"),
        (0.25, "0.25"),
        (None, "–"),
        ([1], "1"),
    ):
        assert (
            columns.cell("spec.model.config.stop_at", {"spec.model.config.stop_at": value}) == text
        )
    assert columns.cell("created_at", {"created_at": "2026-01-01T00:00:00.5+00:00"}) == (
        "2026-01-01T00:00:00+00:00"
    )


def test_jobs_of_one_name_are_told_apart(bench: Bench) -> None:
    ids = [create(bench.store, name=name).id for name in ("same", "same", "other")]
    page = bench.http.get(f"/jobs/compare?ids={','.join(ids)}").text
    names = [f"same …{ids[0][-4:]}", f"same …{ids[1][-4:]}", "other"]
    assert [name for name, _ in jobs(page)] == names


def test_jobs_without_a_step_and_an_empty_question_are_pages(bench: Bench) -> None:
    ids = [create(bench.store, name=name).id for name in ("a", "b")]
    page = bench.http.get(f"/jobs/compare?ids={ids[0]},{ids[1]}").text
    assert "differ in nothing but the name" in page
    assert headings(page) == []
    assert "Choose two jobs or more" in bench.http.get("/jobs/compare").text
