"""The table of a job's statuses: what the store enforces, and what ARCHITECTURE.md draws."""

import re
from pathlib import Path

import pytest
from sqlalchemy import update

from batchgrad.contract import JOB_STATUSES, TERMINAL, TRANSITIONS, Job, JobStatus
from batchgrad.contract.statuses import statuses_before
from batchgrad_service.store import Store, transitions
from batchgrad_service.store.schema import jobs
from batchgrad_service.store.transitions import IllegalTransitionError
from tests.service.building import create

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"
PAIRS = {(status, to) for status, following in TRANSITIONS.items() for to in following}


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_store_allows_exactly_the_changes_of_the_table(store: Store, status: JobStatus) -> None:
    for to in JOB_STATUSES:
        job_id = create(store).id
        with store.writing() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(status=status))
        before = store.job(job_id), store.events(job_id)
        if (status, to) in PAIRS:
            changed = store.transition(job_id, to=to, allowed=[status])
            assert changed is not None
            assert changed.status == to
            continue
        with pytest.raises(IllegalTransitionError, match=f"is {status} cannot become {to}"):
            store.transition(job_id, to=to, allowed=[status])
        assert store.transition(job_id, to=to) is None
        assert (store.job(job_id), store.events(job_id)) == before


def test_statuses_are_written_in_one_place_and_where_a_job_is_created() -> None:
    store_folder = Path(transitions.__file__).parent
    found = {
        path.relative_to(store_folder).as_posix(): re.findall(
            r"\.values\([^)]*?\bstatus=([\w\"]+)", path.read_text()
        )
        for path in store_folder.rglob("*.py")
    }
    assert {file: written for file, written in found.items() if written} == {
        "transitions.py": ["to"],
        "jobs.py": ['"queued"'],
    }


def test_table_begins_at_queued_and_ends_at_the_terminal_statuses() -> None:
    assert set(TRANSITIONS) == set(JOB_STATUSES)
    reached: set[JobStatus] = {"queued"}
    for _ in JOB_STATUSES:
        reached |= {to for status, to in PAIRS if status in reached}
    assert reached == set(JOB_STATUSES)
    assert {"succeeded", "failed", "cancelled"} == TERMINAL
    assert statuses_before("paused") == {"queued", "recovering", "pausing"}


def test_architecture_draws_exactly_the_table() -> None:
    [diagram] = re.findall(
        r"```mermaid\nstateDiagram-v2\n(.*?)```", ARCHITECTURE.read_text(), re.DOTALL
    )
    arrows = re.findall(r"^ +(\S+) --> (\S+?)(?:: .+)?$", diagram, re.MULTILINE)
    assert len(arrows) == len(set(arrows))
    ends = {(status, "[*]") for status in TERMINAL}
    assert set(arrows) == PAIRS | ends | {("[*]", "queued")}


def test_contract_documents_the_table() -> None:
    description = Job.model_json_schema()["properties"]["status"]["description"]
    documented = {
        (status, to)
        for line in description.splitlines()[1:]
        for status, following in [line.split(" → ")]
        for to in following.split(", ")
    }
    assert documented == PAIRS
