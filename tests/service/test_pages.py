"""HTML pages."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from starlette.testclient import TestClient

from batchgrad_engine.messages import EngineEvent
from batchgrad_service.reading.table_content import write_table
from tests.service.building import checkpointed, create, npz, problem, push, report, row, started
from tests.service.conftest import Bench
from tests.workers.tables.table_rows import table_of

Make = Callable[..., Bench]
MARKUP = "<script>alert(1)</script>"
PAGES = ("/", "/submit", "/try", "/jobs/{job}", "/jobs/{job}/examples", "/jobs/none")


def finished(bench: Bench) -> str:
    job_id, attempt = started(bench.store, labels={"note": MARKUP})
    bench.store.record_report(job_id, attempt, report(row(1), row(2)))
    bench.store.record_checkpoint(job_id, attempt, checkpointed(2))
    warning = EngineEvent(event="warning", data={"detail": MARKUP})
    bench.store.record_event(job_id, attempt, warning)
    bench.store.transition(job_id, to="succeeded", allowed=["running"], attempt=attempt)
    return job_id


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_other_hosts_and_have_no_inline_code(
    bench: Bench, path: str
) -> None:
    answer = bench.http.get(path.format(job=finished(bench)))
    policy = answer.headers["content-security-policy"].split("; ")
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not [directive for directive in policy if "unsafe" in directive or "data:" in directive]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for inline in (r"<style", r"\sstyle=", r"<script(?![^>]*\ssrc=)", r"\son[a-z]+=", r"https?://"):
        assert not re.search(inline, answer.text), inline
    assert re.search(r"<title>[^<]+ · batchgrad</title>", answer.text)
    assert '<html lang="en">' in answer.text


def test_a_job_s_page_shows_the_columns_and_classes_of_its_dataset(bench: Bench) -> None:
    job_id = finished(bench)
    assert "Classes:" not in bench.http.get(f"/jobs/{job_id}").text
    other = finished(bench)
    digest = bench.store.job_inputs(other).dataset_digest
    content = bench.app.state.services.datasets.directory(digest)
    content.mkdir(parents=True)
    columns = [{"name": MARKUP, "kind": "number", "missing": 3, "missing_rule": "mean"}]
    write_table(table_of(columns).model_copy(update={"classes": ["no", "yes"]}), content)
    page = bench.http.get(f"/jobs/{other}").text
    assert "Classes: no, yes" in page
    assert "3, filled by mean" in page
    assert MARKUP not in page


def test_markup_in_user_text_is_escaped(bench: Bench) -> None:
    page = bench.http.get(f"/jobs/{finished(bench)}").text
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2  # the label, and the event
    assert MARKUP not in page
    refused = bench.http.post("/submit", data={"spec": f"</textarea>{MARKUP}", "action": "submit"})
    assert MARKUP not in refused.text


def test_an_empty_list_says_what_to_do(http: TestClient) -> None:
    page = http.get("/").text
    assert "batchgrad submit" in page
    assert "batchgrad datasets push" in http.get("/submit").text


def test_jobs_show_progress_loss_and_gap_in_pages(bench: Bench) -> None:
    job_id = finished(bench)
    for _ in range(50):
        create(bench.store, name="waiting")
    first = bench.http.get("/").text
    assert first.count(">waiting</a>") == 50
    older = re.search(r'href="\.(/\?after=[^"]+)">Older jobs', first)
    assert older
    page = bench.http.get(older.group(1)).text
    assert f'href="./jobs/{job_id}"' in page
    assert "2/20" in page
    assert 'title="relative error of averaged_error">0.250<' in page
    assert "Older jobs" not in page


def test_a_job_that_stopped_early_has_a_full_bar(bench: Bench) -> None:
    page = bench.http.get(f"/jobs/{finished(bench)}").text
    assert '<progress max="2" value="2" aria-label="100% done">' in page
    assert "stopped early at step 2 of 20, epoch 1" in page


def test_a_job_page_has_the_actions_of_its_status(bench: Bench) -> None:
    def offered(job_id: str) -> set[str]:
        page = bench.http.get(f"/jobs/{job_id}").text
        known = {
            'data-do="pause"',
            'data-do="resume"',
            'data-do="cancel"',
            "/parameters?format=npz",
        }
        return {one for one in known if one in page}

    running, attempt = started(bench.store)
    assert offered(running) == {'data-do="pause"', 'data-do="cancel"'}
    bench.store.transition(running, to="pausing", allowed=["running"], attempt=attempt)
    bench.store.transition(running, to="paused", allowed=["pausing"], attempt=attempt)
    assert offered(running) == {'data-do="resume"', 'data-do="cancel"'}
    assert offered(finished(bench)) == {"/parameters?format=npz"}


def test_a_page_does_not_repeat_its_events(bench: Bench) -> None:
    job_id = finished(bench)
    page = bench.http.get(f"/jobs/{job_id}").text
    last = bench.http.get(
        f"/v1/jobs/{job_id}/events", headers={"accept": "application/json"}
    ).json()["data"][-1]
    assert f'data-last-event="{last["seq"]}"' in page
    assert "<b>end</b>" in page
    assert "<b>progress</b>" not in page


def test_errors_are_pages(bench: Bench) -> None:
    missing = bench.http.get("/jobs/none")
    assert missing.status_code == 404
    assert "There is no job &#39;none&#39;" in missing.text
    assert bench.http.get("/?after=%21").status_code == 422
    job_id = create(bench.store).id
    assert bench.http.get(f"/jobs/{job_id}/examples?order=odd").status_code == 422
    waiting = bench.http.get(f"/jobs/{job_id}/examples")
    assert waiting.status_code == 200
    assert "wait for its first step" in waiting.text


def test_events_of_one_type_are_listed(bench: Bench) -> None:
    job_id = finished(bench)
    url = f"/v1/jobs/{job_id}/events"
    found = bench.http.get(url, params={"type": "state"}).json()["data"]
    assert [event["data"]["status"] for event in found][-1] == "succeeded"
    assert {event["type"] for event in found} == {"state"}
    two = bench.http.get(url, params={"type": "state", "max_points": 2}).json()["data"]
    assert two == [found[0], found[-1]]
    problem(bench.http.get(url, params={"type": "odd"}), 422)


def test_an_examples_input_is_returned(bench: Bench) -> None:
    push(bench.http)
    digest = bench.store.dataset("digits").digest
    job_id = create(bench.store, digest=digest).id
    url = f"/v1/jobs/{job_id}/examples/1"
    assert bench.http.get(url).json() == {
        "example": 1,
        "input": [3.0, 4.0, 5.0],
        "target": 1,
        "class_name": None,
        "id": None,
        "arrays": {},
    }
    problem(bench.http.get(url, params={"format": "png"}), 422)
    assert "0 to 9" in problem(bench.http.get(f"/v1/jobs/{job_id}/examples/10"), 404)["detail"]
    gone = create(bench.store).id
    problem(bench.http.get(f"/v1/jobs/{gone}/examples/1"), 409)


def test_an_examples_picture_is_drawn(bench: Bench) -> None:
    images = np.zeros((2, 1, 2, 3), np.float32)
    images[1, 0] = [[0, 1, 2], [3, 4, 5]]
    put = bench.http.put("/v1/datasets/images", content=npz(inputs=images, targets=[0, 1]))
    job_id = create(bench.store, digest=put.json()["digest"]).id
    picture = bench.http.get(f"/v1/jobs/{job_id}/examples/1", params={"format": "png"})
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


def test_only_known_static_files_are_served(bench: Bench) -> None:
    http, page = bench.http, bench.http.get(f"/jobs/{finished(bench)}").text
    plotly = re.search(r'src="\.\.(/static/plotly[^"]+)"', page)
    assert plotly
    script = http.get(plotly.group(1))
    assert "plotly.js" in script.text[:200]
    assert "immutable" in script.headers["cache-control"]
    style = http.get("/static/style.css")
    assert (style.headers["content-type"], style.headers["cache-control"]) == (
        "text/css; charset=utf-8",
        "no-cache",
    )
    assert style.headers["content-encoding"] == "gzip"
    plain = http.get("/static/style.css", headers={"accept-encoding": "identity"})
    assert plain.text == style.text
    assert "content-encoding" not in plain.headers
    again = http.get("/static/style.css", headers={"if-none-match": style.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in ("/static/none.js", "/static/..%2fassets.py", "/static/", "/static/../assets.py"):
        problem(http.get(path), 404)
