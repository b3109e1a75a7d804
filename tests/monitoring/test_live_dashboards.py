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


def send_bad_request(watched: Watched) -> None:
    """Request a job that does not exist."""
    with pytest.raises(NotFound):
        watched.client.job("none")


@pytest.fixture(scope="module")
def busy(watched: Watched) -> Watched:
    """The service after a bad request and enough steps for every figure."""
    send_bad_request(watched)
    series = f'batchgrad_job_accuracy{{job_id="{watched.job.id}"}}'
    until(lambda: watched.query(series), f"no accuracy of {watched.job.id}: see its engine.log")
    return watched


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_has_data(busy: Watched, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        job = busy.private if "job_privacy" in target["expr"] else busy.job
        expr = target["expr"].replace("$__rate_interval", RANGE).replace("$job_id", job.id)
        assert "$" not in expr
        send_bad_request(busy)  # so that the rate of bad requests is not empty
        until(partial(busy.query, expr), f"no data: {expr}")


def test_the_dashboard_lists_the_job_for_selection(busy: Watched) -> None:
    (variable,) = DASHBOARDS["job"].variables
    metric, label = variable["query"]["query"].removeprefix("label_values(")[:-1].split(", ")
    address = f"{busy.prometheus}/api/v1/label/{label}/values"
    answer = httpx2.get(address, params={"match[]": metric}).json()
    assert busy.job.id in answer["data"]


def test_series_end_with_the_job(busy: Watched) -> None:
    job = busy.client.submit(busy.job.spec)
    series = f'batchgrad_job_step{{job_id="{job.id}"}}'
    until(lambda: busy.query(series), "the job's series do not begin")
    busy.client.cancel(job.id)
    with pytest.raises(JobCancelled):
        busy.client.wait(job.id)
    until(lambda: not busy.query(series), "the job's series do not end")
    assert busy.query(f'batchgrad_job_step{{job_id="{busy.job.id}"}}')


def test_the_node_of_the_workers_is_counted_as_busy(busy: Watched) -> None:
    assert busy.query('batchgrad_cluster_nodes{state="busy"} == 1')
    assert busy.query('batchgrad_workers{state="running"} == 2')


def test_the_log_of_a_job_names_its_workers(busy: Watched) -> None:
    """The engine's log names each worker's process beside the request that submitted the job."""
    lines = [json.loads(line) for line in busy.engine_log().splitlines() if line[:1] == "{"]
    joined = [line for line in lines if line["event"] == "worker_joined"]
    assert len({(line["host"], line["pid"]) for line in joined}) == 2
    assert {line["job_id"] for line in joined} == {busy.job.id}
    assert all(line["request_id"] for line in joined)
