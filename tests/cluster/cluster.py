"""A Ray cluster over several hosts with the service on its head, started as operators do.

Processes end with their host, and hosts end with pytest.
"""

import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TypeVar

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from batchgrad.client import Client
from tests.cluster.hosts import RAY_FOLDER, SHARED_MEMORY, Host, make_bridge, run
from tests.end_to_end.digits_job import Bits

MOUNTED = Path("/mnt")
"""A tmpfs of this run, visible to all hosts."""

MIB = 2**20
OBJECT_STORE_BYTES = 256 * MIB
SHARED_MEMORY_BYTES = 320 * MIB
CPUS = 2
RAY_PORT = 6379
PORT = 8711
START_SECONDS = 30.0
HEAD_AWAY_SECONDS = 10
"""How long Ray waits for a lost head. A head that a test restarts is back sooner."""
BIN = Path(sys.executable).parent

NODES = """
import json, ray
ray.init(address="auto", log_to_driver=False)
print(json.dumps({n["NodeID"]: n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"]}))
"""

Found = TypeVar("Found")


def until(what: Callable[[], Found], seconds: float, why: str) -> Found:
    """Wait until `what()` is true; return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, why
        time.sleep(0.05)
    return found


class Cluster:
    """`hosts[0]` is the head, with the service; `client` talks to it from outside."""

    client: Client

    def __init__(self) -> None:
        run("mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(MOUNTED))
        self.tokens = {name: self._token(name) for name in ("ray", "service")}
        make_bridge()
        self.hosts: list[Host] = []
        self.data_dir = MOUNTED / "data"
        self.data_dir.mkdir()
        self.digests: dict[str, Bits] = {}  # of undisturbed jobs, by spec
        self._service: subprocess.Popen[bytes] | None = None

    @property
    def head(self) -> Host:
        return self.hosts[0]

    def add_host(self) -> Host:
        """Add a host without Ray; only the head sees the service's data."""
        number = len(self.hosts) + 1
        name = "head" if number == 1 else f"worker-{number - 1}"
        host = Host(number, name, SHARED_MEMORY_BYTES)
        if number > 1:
            host.run("mount", "-t", "tmpfs", "tmpfs", str(self.data_dir))
        self.hosts.append(host)
        return host

    def join(self, host: Host) -> None:
        """Start Ray on a host: as the head, or as a node that joins the head."""
        where = (
            ("--head", f"--port={RAY_PORT}", "--include-dashboard=false")
            if host is self.head
            else (f"--address={self.head.address}:{RAY_PORT}",)
        )
        host.run(
            *self.ray("start", *where, f"--node-ip-address={host.address}"),
            *(f"--num-cpus={CPUS}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
        )

    def restart(self, *hosts: Host) -> None:
        """Stop and start Ray on the hosts, as a process manager does after a crash."""
        for host in hosts:
            self.leave(host)
        for host in hosts:
            self.join(host)

    def leave(self, host: Host) -> None:
        """Kill Ray on a host without warning, as if its machine had crashed."""

        def gone() -> bool:
            pids = host.processes("/ray/") + host.processes("ray::")
            if pids:
                with suppress(RuntimeError):  # some end by themselves meanwhile
                    host.send(signal.SIGKILL, pids)
            return not pids

        until(gone, START_SECONDS, f"Ray does not end on {host.name}")
        host.run("find", SHARED_MEMORY, RAY_FOLDER, "-mindepth", "1", "-delete")

    def nodes(self) -> dict[str, str]:
        """Addresses of the nodes that Ray believes to be alive, by node id."""
        lines = self.head.run(*self.python(NODES)).splitlines()
        [line] = [line for line in lines if line.startswith("{")]  # Ray may print lines as well
        found: dict[str, str] = json.loads(line)
        return found

    def settle(self) -> None:
        """Wait until Ray knows which nodes are dead, so that it places no worker on them."""
        addresses = sorted(host.address for host in self.hosts)
        until(
            lambda: sorted(self.nodes().values()) == addresses,
            START_SECONDS,
            "Ray counts dead nodes, or misses living ones",
        )

    def serve(self, *settings: str) -> None:
        """Start the service on the head, with `settings` as variables of its environment."""
        self._service = self.head.start(
            *self._environment(),
            "BATCHGRAD_WORKER_HEARTBEAT_TIMEOUT_SECONDS=2",
            *settings,
            *(str(BIN / "batchgrad"), "serve", f"--host={self.head.address}", f"--port={PORT}"),
            *(f"--data-dir={self.data_dir}", f"--token-file={MOUNTED / 'service'}"),
            f"--ray-address={self.head.address}:{RAY_PORT}",
            log=MOUNTED / "service.log",
        )
        self.client = Client(f"http://{self.head.address}:{PORT}", self.tokens["service"])
        until(self.client.ready, START_SECONDS, "the service is not ready")

    def serve_again(self, *settings: str) -> None:
        """Stop the service, and start it with other `settings`."""
        self.client.close()
        self.head.send(signal.SIGTERM, self.head.processes("batchgrad serve"))
        if self._service is not None:
            self._service.wait(START_SECONDS)
        self.serve(*settings)

    def ray(self, *arguments: str) -> tuple[str, ...]:
        """Ray's command line, with the environment and token that it needs."""
        return (*self._environment(), str(BIN / "ray"), *arguments)

    def python(self, program: str) -> tuple[str, ...]:
        """The command of a Python program that can connect to Ray."""
        return (*self._environment(), sys.executable, "-c", program)

    @contextmanager
    def driver(self, program: str) -> Iterator[None]:
        """Run another Ray driver on the head; enter the block once it has printed "ready"."""
        log = MOUNTED / "driver.log"
        log.unlink(missing_ok=True)
        process = self.head.start(*self.python(program), log=log)
        try:
            until(lambda: b"ready" in log.read_bytes(), START_SECONDS, "the driver is not ready")
            yield
        finally:
            self.head.send(signal.SIGKILL, self.head.processes(program.strip().splitlines()[0]))
            process.wait()

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples with these labels, read from /metrics."""
        token = {"Authorization": f"Bearer {self.tokens['service']}"}
        text = httpx2.get(f"{self.client.url}/metrics", headers=token).raise_for_status().text
        families = text_string_to_metric_families(text)
        return sum(
            sample.value
            for sample in chain.from_iterable(family.samples for family in families)
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def end(self) -> None:
        """End all hosts and the service."""
        for host in self.hosts:
            host.end()
        if self._service is not None:
            self.client.close()
            self._service.wait()

    def _token(self, name: str) -> str:
        token = secrets.token_hex(32)
        file = MOUNTED / name
        file.touch(mode=0o600)
        file.write_text(token)
        return token

    def _environment(self) -> list[str]:
        """Environment of nodes, the service and drivers: Ray detects failures within seconds."""
        return [
            "env",
            "HOME=/tmp/home",
            "RAY_AUTH_MODE=token",
            f"RAY_AUTH_TOKEN_PATH={MOUNTED / 'ray'}",
            "RAY_USAGE_STATS_ENABLED=0",
            "RAY_DISABLE_IMPORT_WARNING=1",
            "RAY_worker_niceness=0",
            "RAY_prestart_worker_first_driver=0",
            "RAY_health_check_initial_delay_ms=1000",
            "RAY_health_check_period_ms=1000",
            "RAY_health_check_timeout_ms=1000",
            "RAY_health_check_failure_threshold=3",
            f"RAY_gcs_rpc_server_reconnect_timeout_s={HEAD_AWAY_SECONDS}",
        ]
