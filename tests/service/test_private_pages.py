"""Pages of private jobs: what stands there, and what must not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from batchgrad.contract import DatasetPrivacy, Job, JobPrivacy, Page
from batchgrad_service.store import Store
from batchgrad_service.web.charts import CHARTS, charts_of
from batchgrad_service.web.pages import job_shown
from batchgrad_service.web.rendering import page
from tests.service.building import create, spec, started
from tests.service.conftest import Bench
from tests.service.private_jobs import private_service
from tests.service.private_jobs import spec as private_spec

PRIVACY = {"delta": 1e-5, "epsilon": 2.0, "clip_norm": 0.5}
TOTAL = DatasetPrivacy(jobs=3, epsilon=2.5, delta=3e-5, budget=8.0)
HIDDEN = ("noise_scale", "gap", "cosine", "layers", "norms", "phases")
GUIDE = '/guide/privacy.html"'


def private(job: Job, **changes: Any) -> Job:
    """The job, as the service tells one that has spent a part of its budget."""
    told = {
        "noise_multiplier": 1.288,
        "sampling_rate": 0.0417,
        "epsilon": 1.9876,
        "epsilon_spent": 0.84,
        "delta": 1e-5,
        "steps": 20,
        "accountant": "pld",
        **changes,
    }
    update = {"privacy": JobPrivacy.model_validate(told), "step": 7, "status": "running"}
    update |= {"validation_accuracy": 0.875}
    return job.model_copy(update=update)


def job_page(bench: Bench, *, total: DatasetPrivacy | None = None, **changes: Any) -> str:
    services = bench.app.state.services
    stored = bench.store.job(started(bench.store, privacy=PRIVACY)[0])
    shown = {**job_shown(stored, services), "dataset_privacy": total}
    shown["job"] = private(stored, **changes)
    text = bytes(page("job.html", services, **shown).body).decode()
    return re.sub(r"\s+", " ", text)


def test_a_private_job_shows_its_budget_and_its_protection(bench: Bench) -> None:
    text = job_page(bench)
    assert 'max="2.0" value="0.84" aria-label="42% of the privacy budget spent"' in text
    assert "ε 0.84 of 2 at δ 1e-05, 42%" in text
    for label, value in (
        ("Noise", "σ 1.288"),
        ("Sampling rate", "q 0.0417"),
        ("Clipping", "flat, C 0.5"),
        ("Protects", "one example"),
        ("Accountant", "pld"),
        ("Steps left", "13"),
        ("Expected batch size", "10"),
        ("Validation accuracy", "87.50%"),
    ):
        assert f"<dt>{label}</dt><dd>{value}</dd>" in text
    assert "zero_out" in text
    assert GUIDE in text
    assert 'data-budget="2.0"' in text


def test_a_private_job_s_page_has_no_place_for_what_is_hidden(bench: Bench) -> None:
    text = job_page(bench)
    assert 'id="epsilon"' in text
    for chart in HIDDEN:
        assert f'id="{chart}"' not in text, chart
    assert 'id="loss"' not in text
    for word in ("/examples", "Examples per second", "<dt>Loss", "<dt>Noise scale", "Gap of"):
        assert word not in text, word
    public = bench.http.get(f"/jobs/{create(bench.store).id}").text
    for word in ("/examples", "Examples per second", 'id="norms"', 'id="layers-of"'):
        assert word in public, word
    assert 'id="privacy"' not in public
    assert 'id="epsilon"' not in public


def test_an_unsafe_job_is_loudly_so_and_claims_no_epsilon(bench: Bench) -> None:
    text = job_page(bench, unsafe=True, epsilon=None, epsilon_spent=None)
    assert '<p class="alert"><strong>UNSAFE: this service has a fixed key' in text
    assert "privacy budget spent" not in text
    assert 'data-budget=""' in text


def test_the_dataset_s_total_stands_on_the_page(bench: Bench) -> None:
    text = job_page(bench, total=TOTAL)
    assert "deleted ones too: ε 2.5 of 8 at δ 3e-05, in 3 jobs." in text
    without = job_page(bench, total=TOTAL.model_copy(update={"budget": None}))
    assert "ε 2.5 at δ 3e-05, in 3 jobs. No budget is set." in without


def test_single_examples_are_a_sentence(bench: Bench) -> None:
    answer = bench.http.get(f"/jobs/{started(bench.store, privacy=PRIVACY)[0]}/examples")
    assert answer.status_code == 200
    assert "kept nowhere" in answer.text
    assert GUIDE in answer.text
    content = answer.text.partition("<main")[2].partition("</main>")[0]
    for word in ("<form", "<select", "Order by", "wrong labels"):
        assert word not in content


def test_a_list_marks_private_jobs(bench: Bench) -> None:
    job = create(bench.store, privacy=PRIVACY)

    def listed(*jobs: Job) -> str:
        services = bench.app.state.services
        found = Page[Job](data=list(jobs))
        answer = page("jobs.html", services, jobs=found, after=None, query={}, states={})
        return bytes(answer.body).decode()

    assert 'class="mark"' not in listed(job.model_copy(update={"privacy": None}))
    assert ">private, ε 0.84 of 2</span>" in listed(private(job))
    unsafe = listed(private(job, unsafe=True, epsilon=None, epsilon_spent=None))
    assert '<span class="mark unsafe"' in unsafe
    assert "UNSAFE privacy</span>" in unsafe


def test_the_submit_page_has_a_private_spec_to_start_from(bench: Bench) -> None:
    assert 'submit?start=private"' in bench.http.get("/submit").text
    text = bench.http.get("/submit?start=private").text
    assert "  epsilon: 2               # the budget" in text


@pytest.mark.parametrize(
    ("privacy", "charts"),
    [
        ({}, {"epsilon", "gradient_norm", "learning_rate"}),
        ({"validation": "noisy"}, {"epsilon", "gradient_norm", "learning_rate", "accuracy"}),
        (
            {"validation": "public"},
            {"epsilon", "gradient_norm", "learning_rate", "accuracy", "loss", "r2"},
        ),
        (
            {"report": {"loss_bound": 3.0}},
            {"epsilon", "gradient_norm", "learning_rate", "loss"},
        ),
    ],
)
def test_a_private_page_has_the_charts_that_can_have_lines(
    privacy: dict[str, Any], charts: set[str]
) -> None:
    made = charts_of(spec(privacy={**PRIVACY, **privacy}))
    assert {chart.key for chart in made} == charts
    assert made[0].key == "epsilon"
    assert charts_of(spec()) == CHARTS


def test_pages_of_a_job_that_was_submitted(store: Store, tmp_path: Path) -> None:
    with private_service(store, tmp_path, started=False) as service:
        service.push()
        job = service.submit()
        text = re.sub(r"\s+", " ", service.http.get(f"/jobs/{job.id}").text)
        assert "ε 0 of 2 at δ 0.001, 0%" in text
        assert "<dt>Steps left</dt><dd>20</dd>" in text
        assert "deleted ones too: ε 2 at δ 0.001, in 1 job. No budget is set." in text
        assert ">private, ε 0 of 2</span>" in service.http.get("/").text
        assert "spent by private jobs: ε 2 at δ 0.001, in 1 job" in re.sub(
            r"\s+", " ", service.http.get("/submit").text
        )


def test_the_submit_page_shows_a_private_plan(store: Store, tmp_path: Path) -> None:
    with private_service(store, tmp_path, started=False) as service:
        service.push()
        fields = {"spec": json.dumps(private_spec()), "action": "check", "key": "k"}
        answer = service.http.post("/submit", data=fields)
        assert answer.status_code == 200, answer.text
        text = re.sub(r"\s+", " ", answer.text)
        assert "<dt>Privacy</dt><dd>ε 2 at δ 0.001 after 20 steps</dd>" in text
        assert "<dt>Noise</dt><dd>σ 0.7: the noise" in text
