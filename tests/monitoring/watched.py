"""A service with jobs, a Prometheus that scrapes it, and an Alertmanager for its alerts."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from batchgrad.client import Client
from batchgrad.contract import Job
from batchgrad.user_machine.demo import digits
from batchgrad.user_machine.private_service import private_service
from tests.monitoring.programs import program

RULES = Path(__file__).parents[2] / "deploy/prometheus/rules/alerts.yml"
PATIENCE_SECONDS = 60.0
DIGITS = {
    "name": "digits",
    "dataset": "digits",
    "model": {
        "layers": [
            {"kind": "linear", "out_features": 32},
            {"kind": "relu"},
            {"kind": "linear", "out_features": 10},
        ]
    },
    "loss": "softmax_cross_entropy",
    "optimizer": {"kind": "sgd", "learning_rate": 0.05},
    "batch_size": 64,
    "microbatch_size": 32,
    "steps": 1_000_000,
    "validation_fraction": 0.2,
    "checkpoint_interval_seconds": 2,
}
PRIVACY = {"delta": 1e-5, "noise_multiplier": 50.0, "clip_norm": 0.5, "validation": "public"}

Found = TypeVar("Found")


def until(what: Callable[[], Found], why: str) -> Found:
    """Wait until `what()` is true; return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline, why
        time.sleep(0.25)
    return found


class Watched:
    """A context with service, Prometheus and Alertmanager, all stopped at its end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.prometheus = f"http://127.0.0.1:{_free_port()}"
        self.alertmanager = f"http://127.0.0.1:{_free_port()}"
        self.client: Client
        self.job: Job
        self.private: Job

    def __enter__(self) -> Self:
        try:
            self.client = self._stack.enter_context(private_service(folder=self._folder))
            self._watch()
            self.client.put_arrays("digits", *digits())
            self.job = self.client.submit(DIGITS | {"workers": 2})
            self.client.set_privacy_budget("digits", 8.0)
            self.private = self.client.submit(DIGITS | {"workers": 0, "privacy": PRIVACY})
            self.client.submit(DIGITS | {"workers": 0, "steps": 50, "batch_size": "full"})
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Evaluate PromQL in Prometheus; return the series with a finite value."""
        answer = httpx2.get(f"{self.prometheus}/api/v1/query", params={"query": expr}).json()
        assert answer["status"] == "success", (expr, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return [each for each in result if each["value"][1] not in {"NaN", "+Inf", "-Inf"}]

    def alerts(self) -> list[dict[str, Any]]:
        """Firing alerts, from Alertmanager."""
        answer = httpx2.get(f"{self.alertmanager}/api/v2/alerts")
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    def engine_log(self) -> str:
        """The log of the job's engine."""
        (log,) = self._folder.glob(f"*/jobs/{self.job.id}/engine.log")
        return log.read_text("utf-8")

    def _watch(self) -> None:
        """Start Alertmanager, and Prometheus with the committed rules and short intervals."""
        service, alertmanager = (
            {"static_configs": [{"targets": [url.removeprefix("http://")]}]}
            for url in (self.client.url, self.alertmanager)
        )
        [token] = self._folder.glob("*/token")
        scraped = {"authorization": {"credentials_file": str(token)}, **service}
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "batchgrad", **scraped}],
            "alerting": {"alertmanagers": [alertmanager]},
        }
        config = self._folder / "prometheus.yml"
        config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        routes = self._folder / "alertmanager.yml"
        routes.write_text(
            json.dumps({"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}),
            encoding="utf-8",
        )
        self._start(
            "prometheus-alertmanager",
            f"--config.file={routes}",
            f"--storage.path={self._folder / 'alertmanager'}",
            f"--web.listen-address={self.alertmanager.removeprefix('http://')}",
            "--cluster.listen-address=",
        )
        self._start(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self._folder / 'prometheus'}",
            f"--web.listen-address={self.prometheus.removeprefix('http://')}",
        )
        for url in (self.prometheus, self.alertmanager):
            until(partial(_healthy, url), f"{url} does not answer; see {self._folder}/*.log")
        until(lambda: self.query('up{job="batchgrad"} == 1'), "Prometheus misses the service")

    def _start(self, name: str, *flags: str) -> None:
        # setpriv: it ends with this process, however that ends.
        command: Sequence[str] = ("setpriv", "--pdeathsig", "KILL", "--", program(name), *flags)
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)


def _healthy(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/-/ready").status_code == 200
    except httpx2.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
