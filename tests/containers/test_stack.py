"""The compose stack on a Docker engine, from the unmodified Dockerfile and compose file."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from batchgrad.client import Client
from batchgrad.contract import Job
from batchgrad.user_machine import demo
from tests.containers.stack import STARTED, Stack
from tests.end_to_end.digits_job import bits

PATIENCE_SECONDS = 120.0
STEPS = 2500


@pytest.fixture(autouse=True)
def _all_there(stack: Stack) -> None:
    """Start two workers before each test, if the previous test stopped some."""
    stack.up()
    until(lambda: [health(stack, c) for c in running(stack)], ["healthy"] * 4)


def running(stack: Stack) -> list[str]:
    return [container for name in STARTED for container in stack.containers(name)]


def health(stack: Stack, container: str) -> str:
    return str(stack.state(container)["State"].get("Health", {}).get("Status"))


def until(read: Callable[[], Any], expected: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := read()) != expected:
        assert time.monotonic() < deadline, seen
        time.sleep(0.5)


def spec(workers: int, steps: int) -> dict[str, Any]:
    """The demo's job in small steps: quick inline, slow enough on workers to disturb them."""
    small = {"steps": steps, "batch_size": 32, "microbatch_size": 8, "threads": 1}
    digits = demo.spec(workers, None, 1)
    return {key: value for key, value in digits.items() if key != "epochs"} | small


def trained(client: Client, job_id: str) -> Job:
    job = client.wait(job_id, timeout=PATIENCE_SECONDS)
    assert job.parameters_digest
    return job


def under_way(client: Client, steps: int) -> str:
    """Submit a job on two workers; return its id after its first steps."""
    job_id = client.submit(spec(2, steps)).id
    until(lambda: client.job(job_id).step >= 10, expected=True)
    return job_id


def hosts_that_joined(client: Client, job_id: str) -> list[str]:
    events = client.events(job_id, progress=True)
    return [event.data["host"] for event in events if event.type == "worker_joined"]


def test_nothing_runs_as_root(stack: Stack) -> None:
    for container in running(stack):
        pid = stack.state(container)["State"]["Pid"]
        processes = stack.engine.run("docker", "top", container, "-eo", "pid,uid").splitlines()[1:]
        owners = dict(line.split() for line in processes)
        assert str(pid) in owners
        assert "0" not in owners.values(), processes


def test_every_root_file_system_is_read_only(stack: Stack) -> None:
    for container in running(stack):
        assert stack.state(container)["HostConfig"]["ReadonlyRootfs"] is True


def test_a_job_from_outside_has_the_same_bits_on_workers_as_inline(stack: Stack) -> None:
    with stack.client() as client:
        inline = trained(client, client.submit(spec(0, steps=100)).id)
        spread = trained(client, client.submit(spec(2, steps=100)).id)
        assert bits(spread) == bits(inline)
        assert len(set(hosts_that_joined(client, spread.id))) == 2


def test_a_killed_worker_changes_no_bit(stack: Stack) -> None:
    with stack.client() as client:
        inline = trained(client, client.submit(spec(0, STEPS)).id)
        victim, _ = stack.containers("worker")
        job_id = under_way(client, STEPS)
        stack.engine.run("docker", "kill", victim)
        survived = trained(client, job_id)
        assert bits(survived) == bits(inline)
        assert survived.attempts == 1
        lost = [e for e in client.events(job_id, progress=True) if e.type == "worker_lost"]
        assert stack.state(victim)["Config"]["Hostname"] in [
            event.data.get("host") for event in lost
        ]


def test_a_restarted_service_continues_its_job(stack: Stack) -> None:
    """Engine, head and API stop; the workers leave the old head and join the new one."""
    with stack.client() as client:
        inline = trained(client, client.submit(spec(0, STEPS)).id)
        job_id = under_way(client, STEPS)
    stack.compose("stop", "--timeout", "45", "service")
    (service,) = stack.containers("service")
    assert stack.state(service)["State"]["ExitCode"] == 0
    stack.up()
    with stack.client() as client:
        resumed = trained(client, job_id)
        assert bits(resumed) == bits(inline)
        assert resumed.attempts == 2


def test_prometheus_finds_every_target(stack: Stack) -> None:
    def seen() -> list[tuple[str, str]]:
        found = stack.prometheus("targets")["activeTargets"]
        return sorted((target["labels"]["job"], target["health"]) for target in found)

    until(seen, [("batchgrad", "up"), ("prometheus", "up")])
    (build,) = stack.prometheus("query?query=batchgrad_build_info")["result"]
    assert build["metric"]["instance"] == "service:8711"


def test_requests_without_the_tokens_are_refused(stack: Stack) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{stack.url('service', 8711)}/v1/jobs", timeout=10)  # noqa: S310
    ask = ("ray", "health-check", "--address", "service:6379")
    stack.inside("worker", *ask)
    with pytest.raises(AssertionError, match="InvalidAuthToken"):
        stack.inside("worker", "env", f"RAY_AUTH_TOKEN={'0' * 64}", *ask)


def test_only_its_owner_can_read_a_token(stack: Stack) -> None:
    assert stack.inside("worker", "stat", "-c", "%a %u", "/run/batchgrad/ray/token") == "600 10001"
    with pytest.raises(AssertionError, match="No such file"):
        stack.inside("worker", "cat", "/run/batchgrad/api/token")


def test_only_loopback_ports_are_published(stack: Stack) -> None:
    """Covers every port that the engine publishes on this machine."""
    for container in running(stack):
        ports = stack.state(container)["NetworkSettings"]["Ports"]
        published = [each["HostIp"] for bound in ports.values() for each in bound or []]
        assert set(published) <= {"127.0.0.1"}


def test_compose_file_is_valid(stack: Stack) -> None:
    stack.compose("config", "--quiet")
