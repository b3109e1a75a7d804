import json
from functools import partial
from typing import Any

import httpx2
import pytest

from batchgrad.errors import JobCancelled, NotFound
from deploy.grafana.build import DASHBOARDS
from tests.monitoring.watched import Watched, until

PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard.json()["panels"]
    if panel["type"] != "row"
]
RANGE = "10s"


def ask_for_nothing(watched: Watched) -> None:
    """A bad request."""
    with pytest.raises(NotFound):
        watched.client.job("none")


@pytest.fixture(scope="module")
def busy(watched: Watched) -> Watched:
    """With a bad request, and after enough steps for every figure."""
    ask_for_nothing(watched)
    series = f'batchgrad_job_accuracy{{job_id="{watched.job.id}"}}'
    until(lambda: watched.ask(series), f"no accuracy of {watched.job.id}: see its engine.log")
    return watched


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_has_data(busy: Watched, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", RANGE).replace("$job_id", busy.job.id)
        assert "$" not in expr
        ask_for_nothing(busy)  # rates of bad requests are there at any time
        until(partial(busy.ask, expr), f"no data: {expr}")


def test_the_job_can_be_chosen(busy: Watched) -> None:
    (variable,) = DASHBOARDS["job"].variables
    metric, label = variable["query"]["query"].removeprefix("label_values(")[:-1].split(", ")
    address = f"{busy.prometheus}/api/v1/label/{label}/values"
    answer = httpx2.get(address, params={"match[]": metric}).json()
    assert busy.job.id in answer["data"]


def test_series_end_with_the_job(busy: Watched) -> None:
    job = busy.client.submit(busy.job.spec)
    series = f'batchgrad_job_step{{job_id="{job.id}"}}'
    until(lambda: busy.ask(series), "the job's series do not begin")
    busy.client.cancel(job.id)
    with pytest.raises(JobCancelled):
        busy.client.wait(job.id)
    until(lambda: not busy.ask(series), "the job's series do not end")
    assert busy.ask(f'batchgrad_job_step{{job_id="{busy.job.id}"}}')


def test_the_node_that_the_workers_are_on_is_seen(busy: Watched) -> None:
    assert busy.ask('batchgrad_cluster_nodes{state="busy"} == 1')
    assert busy.ask('batchgrad_workers{state="running"} == 2')


def test_the_job_can_be_followed_to_its_workers(busy: Watched) -> None:
    """The engine's log names each worker's process beside the request that submitted the job."""
    lines = [json.loads(line) for line in busy.engine_log().splitlines() if line[:1] == "{"]
    joined = [line for line in lines if line["event"] == "worker_joined"]
    assert len({(line["host"], line["pid"]) for line in joined}) == 2
    assert {line["job_id"] for line in joined} == {busy.job.id}
    assert all(line["request_id"] for line in joined)
