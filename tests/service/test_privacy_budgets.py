"""What private jobs spend on datasets: reserved, settled, kept, and limited by budgets."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchgrad.contract import TERMINAL, DatasetPrivacy
from batchgrad_service.problems import ConflictError
from batchgrad_service.store import Store
from tests.service.building import DIGEST, PLAN, dataset, problem, report, row, spec
from tests.service.private_jobs import PrivateService, private_job, private_service
from tests.service.private_jobs import spec as private_spec

OTHER = "sha256:" + "c" * 64


def create(store: Store, steps: int = 20, digest: str = DIGEST, *, noisy: bool = False) -> str:
    """A private job, which spends 0.1 a step."""
    privacy = {"delta": 1e-3, "noise_multiplier": 0.7, "clip_norm": 0.5}
    changes = {"validation": {"dataset": "other"}} if noisy else {}
    job, _ = store.create_job(
        spec(privacy={**privacy, **({"validation": "noisy"} if noisy else {})}, **changes),
        dataset_digest=digest,
        validation_digest=OTHER if noisy else None,
        steps_planned=steps,
        warnings=[],
        plan=PLAN,
        initial_parameters=None,
        idempotency_key=None,
        body_digest="b",
        private=private_job(steps),
    )
    return job.id


def end(store: Store, job_id: str, epsilon: float) -> None:
    store.transition(job_id, to="cancelled", epsilon_spent=epsilon)


def test_planned_epsilon_is_reserved_and_becomes_what_was_spent(store: Store) -> None:
    store.put_dataset(dataset(), replace=False)
    assert store.dataset("digits").privacy is None
    job_id = create(store)
    assert store.dataset("digits").privacy == DatasetPrivacy(
        jobs=1, epsilon=2.0, delta=1e-3, budget=None
    )
    end(store, job_id, 0.7)
    [found] = store.datasets().data
    assert found.privacy == DatasetPrivacy(jobs=1, epsilon=0.7, delta=1e-3, budget=None)
    privacy = store.job(job_id).privacy
    assert privacy is not None
    assert (privacy.epsilon, privacy.epsilon_spent) == (2.0, 0.7)


def test_a_job_that_took_no_step_spends_nothing(store: Store) -> None:
    end(store, create(store), 0.0)
    assert store.dataset_privacy(DIGEST) is None


def test_deleted_jobs_still_count(store: Store) -> None:
    job_id = create(store)
    end(store, job_id, 0.7)
    store.delete_job(job_id)
    assert store.dataset_privacy(DIGEST) == DatasetPrivacy(
        jobs=1, epsilon=0.7, delta=1e-3, budget=None
    )


def test_epsilon_and_delta_of_jobs_add_up_on_each_content(store: Store) -> None:
    create(store)
    create(store, 10)
    create(store, 10, OTHER)
    found = store.dataset_privacy(DIGEST)
    assert found is not None
    assert (found.jobs, found.delta) == (2, 2e-3)
    assert found.epsilon == pytest.approx(3.0)


def test_noisy_validation_on_another_dataset_spends_there_too(store: Store) -> None:
    job_id = create(store, noisy=True)
    for digest in (DIGEST, OTHER):
        found = store.dataset_privacy(digest)
        assert found is not None
        assert found.epsilon == 2.0
    end(store, job_id, 0.5)
    assert [store.dataset_privacy(each).epsilon for each in (DIGEST, OTHER)] == [0.5, 0.5]  # type: ignore[union-attr]


def test_steps_that_are_charged_again_raise_what_is_reserved(store: Store) -> None:
    job_id = create(store, 10)
    attempt = store.begin_attempt(job_id)
    assert attempt is not None
    rows = [row(n).model_copy(update={"epsilon": 0.5 * n}) for n in (1, 2, 3)]
    store.record_report(job_id, attempt, report(rows[0]))
    assert store.dataset_privacy(DIGEST).epsilon == 1.0  # type: ignore[union-attr]
    store.record_report(job_id, attempt, report(*rows[1:]))
    assert store.dataset_privacy(DIGEST).epsilon == 1.5  # type: ignore[union-attr]
    assert store.job(job_id).privacy.epsilon_spent == 1.5  # type: ignore[union-attr]


def test_a_budget_is_of_the_content_under_all_its_names(store: Store) -> None:
    store.put_dataset(dataset(), replace=False)
    store.put_dataset(dataset("copy"), replace=False)
    store.set_privacy_budget("copy", 2.5)
    create(store)
    with pytest.raises(ConflictError) as refused:
        create(store, 6)
    assert refused.value.code == "privacy_budget_spent"
    for figure in ("an epsilon of 0.6 ", "budget of 2.5 ", "reserved 2:", "0.5 is left"):
        assert figure in refused.value.detail
    assert "a larger noise_multiplier or fewer steps" in refused.value.detail
    assert f"on dataset {DIGEST[:19]}, of" in refused.value.detail  # as in tables
    assert "batchgrad datasets budget NAME --epsilon" in refused.value.detail
    create(store, 5)
    with pytest.raises(ConflictError, match=r"0 is left\. Only a larger budget takes another job"):
        create(store, 1)
    assert store.dataset("digits").privacy == store.dataset("copy").privacy
    store.set_privacy_budget("digits", None)
    create(store)
    assert store.dataset_privacy(DIGEST).budget is None  # type: ignore[union-attr]


def test_a_refused_job_leaves_nothing(store: Store) -> None:
    store.put_dataset(dataset(), replace=False)
    store.set_privacy_budget("digits", 1.0)
    with pytest.raises(ConflictError):
        create(store)
    assert store.jobs().data == []
    assert store.dataset_privacy(DIGEST) == DatasetPrivacy(
        jobs=0, epsilon=0.0, delta=0.0, budget=1.0
    )


def test_of_jobs_that_race_for_the_last_of_a_budget_those_that_fit_are_stored(
    store: Store,
) -> None:
    store.put_dataset(dataset(), replace=False)
    store.set_privacy_budget("digits", 6.5)

    def submit(_: int) -> bool:
        try:
            create(store)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(submit, range(8)))
    assert sum(stored) == 3
    assert store.dataset_privacy(DIGEST).epsilon == pytest.approx(6.0)  # type: ignore[union-attr]


@pytest.fixture
def service(store: Store, tmp_path: Path) -> Iterator[PrivateService]:
    with private_service(store, tmp_path, started=False) as made:
        made.push()
        yield made


def test_budgets_over_http(service: PrivateService) -> None:
    http = service.http
    answer = http.put("/v1/datasets/rows/privacy-budget", json={"epsilon": 3})
    assert answer.json()["privacy"] == {"jobs": 0, "epsilon": 0.0, "delta": 0.0, "budget": 3.0}
    first = service.submit()
    refused = problem(http.post("/v1/jobs", json=private_spec()), 409)
    assert refused["code"] == "privacy_budget_spent"
    assert service.keys() == [first.id]
    plan = http.post("/v1/plans", json=private_spec()).json()
    assert "with this job's it is 4, of a budget of 3." in plan["warnings"][-1]
    assert http.delete("/v1/datasets/rows/privacy-budget").status_code == 204
    service.submit()
    for body in ({}, {"epsilon": 0}, {"epsilon": -1}, {"epsilon": "many"}):
        problem(http.put("/v1/datasets/rows/privacy-budget", json=body), 422)
    for answer in (
        http.put("/v1/datasets/none/privacy-budget", json={"epsilon": 3}),
        http.delete("/v1/datasets/none/privacy-budget"),
    ):
        assert problem(answer, 404)["code"] == "dataset_not_found"


def test_a_job_that_died_with_the_service_is_settled_by_the_next(
    service: PrivateService,
) -> None:
    job = service.submit()
    service.store.transition(job.id, to="cancelled")  # and then the power failed
    assert service.store.job(job.id).status in TERMINAL
    assert service.keys() == [job.id]
    other = service.submit()
    service.app.state.services.private.sweep(service.store)
    assert service.keys() == [other.id]
    assert service.store.dataset("rows").privacy.jobs == 1  # type: ignore[union-attr]
