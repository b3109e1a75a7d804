"""The compose project, started on the tests' engine as docs/how-to/deploy.md describes."""

import json
import urllib.request
from typing import Any

from batchgrad.client import Client
from tests.containers.engine import Engine

STARTED = ("service", "worker", "prometheus")
"""All services except grafana, which has no Debian package."""


class Stack:
    """A compose project."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.environment |= {
            "COMPOSE_PROJECT_NAME": "batchgrad-test",
            "BATCHGRAD_PORT": "0",  # any free one
            "PROMETHEUS_PORT": "0",
            "SERVICE_CPUS": "1",
            "WORKER_CPUS": "1",
        }

    def compose(self, *arguments: str, seconds: float = 120) -> str:
        return self.engine.run(
            "docker-compose", "--env-file", ".env.example", *arguments, seconds=seconds
        )

    def up(self, workers: int = 2) -> None:
        """Start containers that are not running; return when all have started, healthy or not."""
        options = ("--detach", "--no-build", "--scale", f"worker={workers}")
        try:
            self.compose("up", *options, *STARTED, seconds=240)
        except AssertionError as error:
            error.add_note(self.compose("logs", "--no-color", "--tail=40"))
            raise

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "45")

    def containers(self, service: str = "") -> list[str]:
        """Ids of the containers of a service, or of all."""
        return self.compose("ps", "--quiet", *([service] if service else [])).split()

    def state(self, container: str) -> dict[str, Any]:
        """The output of `docker inspect` for a container."""
        (found,) = json.loads(self.engine.run("docker", "inspect", container))
        return dict(found)

    def inside(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def url(self, service: str, port: int) -> str:
        return f"http://{self.compose('port', service, str(port))}"

    def client(self) -> Client:
        """A client on the host, with the token read as docs/how-to/deploy.md describes."""
        token = self.inside("service", "cat", "/run/batchgrad/api/token")
        return Client(self.url("service", 8711), token=token)

    def prometheus(self, path: str) -> Any:
        """Data from Prometheus's HTTP API."""
        url = f"{self.url('prometheus', 9090)}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  (loopback)
            return json.load(answer)["data"]
