"""A scripted service for tests: it records requests and returns the given answers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from typer.testing import CliRunner, Result

from batchgrad.cli.app import app
from batchgrad.client import AsyncClient, Client
from batchgrad.http.retries import Retries
from batchgrad.user_machine import private_service

TIME = "2026-01-02T03:04:05Z"
SPEC: dict[str, Any] = {
    "name": "digits",
    "dataset": "digits",
    "model": {"layers": [{"kind": "linear", "out_features": 10}]},
    "loss": "softmax_cross_entropy",
    "optimizer": {"kind": "sgd", "learning_rate": 0.1},
    "batch_size": 256,
    "epochs": 3,
}
DATASET: dict[str, Any] = {
    "name": "digits",
    "digest": "sha256:0",
    "examples": 2,
    "input_shape": [64],
    "input_dtype": "float32",
    "target_kind": "classes",
    "classes": 10,
    "weighted": False,
    "bytes": 3,
    "created_at": TIME,
}
SHORTCUT = {"relative_error": 0.5, "cosine_similarity": 0.9, "norm_ratio": 0.7}
JOB: dict[str, Any] = {
    "id": "job_1",
    "name": "digits",
    "labels": {},
    "status": "running",
    "reason": None,
    "queued_because": None,
    "step": 7,
    "steps_planned": 18,
    "epoch": 1,
    "loss": 0.25,
    "validation_loss": 0.5,
    "validation_accuracy": 0.975,
    "learning_rate": 0.1,
    "gradient_norm": 1.5,
    "noise_scale": None,
    "shortcuts": {"averaged_error": SHORTCUT},
    "workers": 2,
    "threads": 1,
    "executor": "ray",
    "examples_per_second": 12345.0,
    "parameters_digest": None,
    "attempts": 1,
    "warnings": [],
    "created_at": TIME,
    "started_at": TIME,
    "finished_at": None,
    "spec": SPEC,
}
BEST: dict[str, Any] = {
    "step": 7,
    "epoch": 1,
    "metric": "validation_loss",
    "validation_loss": 0.125,
    "validation_accuracy": 0.75,
    "parameters_digest": "sha256:ab",
}
STEP: dict[str, Any] = {
    "step": 18,
    "epoch": 2,
    "time": TIME,
    "loss": 0.2,
    "learning_rate": 0.1,
    "gradient_norm": 1.5,
    "noise_scale": None,
    "norms": {"quantiles": {"0.5": 1.0}, "largest": [{"example": 3, "norm": 9.0}]},
    "shortcuts": {
        "averaged_error": {
            **SHORTCUT,
            "layers": [
                {
                    "name": "0",
                    "relative_error": 0.99,
                    "covariance_norm": 1.25,
                    "propagation_norm": 0.125,
                }
            ],
        }
    },
    "phases": {"compute": 0.1},
    "workers": 2,
}

Answer = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]


class Script:
    """Give `answers` in sequence, then repeat the last; record requests and sleeps."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.seen: list[httpx2.Request] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)

    def client(self, **more: Any) -> Client:
        """A client whose network is this script and whose sleep takes no time."""
        return Client("http://service", sleep=self.slept.append, **self._options(more))

    def async_client(self, **more: Any) -> AsyncClient:
        """The same for asyncio."""

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        return AsyncClient("http://service", sleep=sleep, **self._options(more))

    def _options(self, more: dict[str, Any]) -> dict[str, Any]:
        more.setdefault("retries", Retries(jitter=lambda: 1.0))
        clock = lambda: sum(self.slept)  # noqa: E731
        return {"transport": httpx2.MockTransport(self), "clock": clock, **more}


def answer(status: int, body: Any = None, **headers: str) -> httpx2.Response:
    """A JSON answer."""
    return httpx2.Response(status, content=json.dumps(body).encode(), headers=headers)


def page(*data: Any) -> httpx2.Response:
    """The only page of a list."""
    return answer(200, {"data": data, "next": None})


def job(**changes: Any) -> dict[str, Any]:
    """A job as the service writes it."""
    return {**JOB, **changes}


def problem(status: int, code: str, detail: str, *errors: tuple[str, str]) -> httpx2.Response:
    """An error answer with a problem document."""
    body = {
        "title": code,
        "status": status,
        "code": code,
        "detail": detail,
        "errors": [{"pointer": pointer, "detail": text} for pointer, text in errors],
    }
    return answer(status, body)


class Kit:
    """The functions above, for tests, which cannot import their conftest."""

    BEST = BEST
    Script = Script
    DATASET = DATASET
    SPEC = SPEC
    STEP = STEP
    TIME = TIME
    answer = staticmethod(answer)
    page = staticmethod(page)
    job = staticmethod(job)
    problem = staticmethod(problem)


@pytest.fixture
def kit() -> type[Kit]:
    return Kit


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run the command line against a scripted service."""

    def run(script: Any, *arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, list(arguments), obj=script.client, **more)

    return run


@pytest.fixture
def spec_file(tmp_path: Path) -> str:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return str(path)


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[str]]:
    """Have the private service be a script; return what happens to it."""

    def use(script: Any) -> list[str]:
        seen: list[str] = []

        @contextmanager
        def service() -> Iterator[Client]:
            seen.append("started")
            try:
                with script.client() as client:
                    yield client
            finally:
                seen.append("gone")

        monkeypatch.setattr(private_service, "private_service", service)
        return seen

    return use
