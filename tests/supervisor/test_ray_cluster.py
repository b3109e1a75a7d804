"""The private cluster starts, is used, and leaves nothing, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchgrad_service.ray_head.cluster import ClusterAddress, ClusterUnavailableError, RayCluster
from batchgrad_workers.system.processes import session_members
from tests.supervisor.conftest import PATIENCE_SECONDS
from tests.supervisor.ray_heads import SHARED_MEMORY, assert_nothing_left, record

DRIVER = """
import os, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
actor = ray.remote(num_cpus=0)(type("Actor", (), {"nice": lambda self: os.nice(0)}))
print(ray.get([actor.remote().nice.remote() for _ in range(3)]))
"""

SERVICE = """
import sys, time
from pathlib import Path
from batchgrad_service.ray_head.cluster import RayCluster
RayCluster(Path(sys.argv[1])).address(1)
print("up", flush=True)
time.sleep(600)
"""

TIDY = (
    "from batchgrad_service.ray_head.process import main; main(prune_seconds=0.2, log_seconds=0.5)"
)
WORKERS = ("worker-", "python-core-worker-")


def logs_in(temp_dir: Path) -> list[str]:
    """Names of Ray's logs."""
    return [file.name for file in temp_dir.glob("ray/session_2*/logs/*") if file.is_file()]


@pytest.fixture
def shared_memory() -> set[Path]:
    return set(SHARED_MEMORY.iterdir())


def drive(cluster: ClusterAddress, command: list[str]) -> str:
    return subprocess.run(
        [sys.executable, *command],
        env=os.environ | cluster.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


@pytest.mark.ray
def test_more_actors_than_cpus_run_their_logs_go_and_a_clean_stop_leaves_nothing(
    tmp_path: Path, shared_memory: set[Path]
) -> None:
    cluster = RayCluster(tmp_path, head_command=[sys.executable, "-c", TIDY])
    try:
        first = cluster.address(1)
        assert first.private
        assert first.address.startswith("127.0.0.1:")
        assert cluster.address(7) == first, "one cluster, however many jobs"
        session, temp_dir = record(tmp_path)
        assert (temp_dir / "token").stat().st_mode & 0o777 == 0o600
        assert temp_dir.stat().st_mode & 0o777 == 0o700
        for pid in session_members(session):  # as systemd does to the whole tree
            os.kill(pid, signal.SIGTERM)
        head = set(logs_in(temp_dir))
        usual = os.nice(0)
        assert drive(first, ["-c", DRIVER, first.address]).strip() == str([usual] * 3)
        refused = subprocess.run(
            [sys.executable, "-c", DRIVER, first.address],
            env=os.environ | first.environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "other")},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert refused.returncode != 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left := [name for name in logs_in(temp_dir) if name.startswith(WORKERS)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        assert head <= set(logs_in(temp_dir))
    finally:
        cluster.stop()
    assert_nothing_left(session, temp_dir, shared_memory)
    assert not (tmp_path / "keeper.json").exists()
    with pytest.raises(ClusterUnavailableError, match="stopping"):
        cluster.address(1)


@pytest.mark.ray
@pytest.mark.parametrize("head_too", [False, True])
def test_a_killed_service_leaves_nothing(
    tmp_path: Path, shared_memory: set[Path], *, head_too: bool
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(tmp_path)], stdout=subprocess.PIPE
    ) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == b"up\n"
            session, temp_dir = record(tmp_path)
        finally:
            service.kill()
    if head_too:
        os.kill(session, signal.SIGKILL)
        RayCluster(tmp_path, stop_seconds=2.0).remove_leftovers()  # what the next boot does
        assert not (tmp_path / "keeper.json").exists()
    assert_nothing_left(session, temp_dir, shared_memory)


def test_a_head_that_fails_says_why(tmp_path: Path) -> None:
    cluster = RayCluster(
        tmp_path, head_command=[sys.executable, "-c", "import sys; sys.exit('no room')"]
    )
    with pytest.raises(ClusterUnavailableError, match="no room"):
        cluster.address(1)
    cluster.stop()


def test_a_named_cluster_needs_no_head(tmp_path: Path) -> None:
    cluster = RayCluster(tmp_path, "203.0.113.7:6379", head_command=["/nowhere"])
    assert cluster.address(3) == ClusterAddress("203.0.113.7:6379", private=False)
    cluster.stop()


def test_leftovers_of_strangers_are_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )
    keep = tmp_path / "batchgrad-not-ours"
    keep.mkdir()
    try:
        (tmp_path / "keeper.json").write_text(
            json.dumps({"session": stranger.pid, "temp_dir": str(keep)})
        )
        RayCluster(tmp_path).remove_leftovers()
        assert stranger.poll() is None
        assert keep.exists(), "only folders that we could have made are removed"
    finally:
        stranger.kill()
        stranger.wait()
