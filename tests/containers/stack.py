"""The compose file, started on the tests' engine as docs/deploy.md says."""

import json
import urllib.request
from typing import Any

from batchgrad.client import Client
from tests.containers.engine import Engine

STARTED = ("service", "worker", "prometheus")
"""All but grafana, which Debian has no package of."""


class Stack:
    """One compose project."""

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
        """Start what is not running; returns when all of it was started, healthy or not."""
        options = ("--detach", "--no-build", "--scale", f"worker={workers}")
        try:
            self.compose("up", *options, *STARTED, seconds=240)
        except AssertionError as error:
            error.add_note(self.compose("logs", "--no-color", "--tail=40"))
            raise

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "45")

    def containers(self, service: str = "") -> list[str]:
        """Their ids."""
        return self.compose("ps", "--quiet", *([service] if service else [])).split()

    def state(self, container: str) -> dict[str, Any]:
        """What `docker inspect` says of it."""
        (found,) = json.loads(self.engine.run("docker", "inspect", container))
        return dict(found)

    def inside(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def url(self, service: str, port: int) -> str:
        return f"http://{self.compose('port', service, str(port))}"

    def client(self) -> Client:
        """A client on the host, with the token as the docs tell to get it."""
        token = self.inside("service", "cat", "/run/batchgrad/api/token")
        return Client(self.url("service", 8711), token=token)

    def prometheus(self, path: str) -> Any:
        """The data that its HTTP API answers."""
        url = f"{self.url('prometheus', 9090)}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  (loopback)
            return json.load(answer)["data"]
