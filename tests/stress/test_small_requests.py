"""Small requests for large computations: none uses much CPU time or memory."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cpu_time import least_seconds
from tests.stress.attacked import Attacked, attacked, repeatedly

MIB = 2**20
ROUNDS = 3
"""The best round counts: other work of the machine is not in every one, a fault is."""
log = logging.getLogger(__name__)
FORM = "application/x-www-form-urlencoded"


def gradients(*layers: dict[str, Any], **changes: Any) -> bytes:
    model = {"layers": [*layers, {"kind": "linear", "out_features": 1}]}
    body = {"model": model, "loss": "squared_error", "inputs": [[1]], "targets": [0], **changes}
    return json.dumps(body, separators=(",", ":")).encode()


def linear(out: int) -> dict[str, Any]:
    return {"kind": "linear", "out_features": out}


def conv(kernel: int, padding: int, channels: int = 1) -> dict[str, Any]:
    return {
        "kind": "conv2d",
        "out_channels": channels,
        "kernel_size": kernel,
        "padding": padding,
    }


FLAT = {"kind": "flatten"}
PIXEL = {"inputs": [[[[1]]]]}


def embedding(ids: int) -> dict[str, Any]:
    return {"kind": "embedding", "num_embeddings": ids, "embedding_dim": 1}


def job(**changes: Any) -> bytes:
    spec = {
        "name": "x",
        "dataset": "ids",
        "model": {"layers": [embedding(10**6), FLAT, linear(1)]},
        "loss": "squared_error",
        "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        "batch_size": 10,
        "steps": 1,
        **changes,
    }
    return json.dumps(spec).encode()


GRADIENTS, PLAN = "POST /v1/gradients", "POST /v1/plans"
WORST: dict[str, tuple[str, bytes, str]] = {
    "far padding": (GRADIENTS, gradients(conv(300, 225), FLAT, **PIXEL), ""),
    "padding": (GRADIENTS, gradients(conv(121, 120), FLAT, **PIXEL), ""),
    "as much padding as is allowed": (GRADIENTS, gradients(conv(60, 59), FLAT, **PIXEL), ""),
    "many channels": (GRADIENTS, gradients(conv(30, 29, 2000), FLAT, **PIXEL), ""),
    "windows": (
        GRADIENTS,
        gradients({"kind": "max_pool2d", "kernel_size": 3000, "padding": 1500}, FLAT, **PIXEL),
        "",
    ),
    "a wide model": (GRADIENTS, gradients(*[linear(2**20), linear(1)] * 5), ""),
    "a long answer": (GRADIENTS, gradients(linear(139_000)), ""),
    "many layers": (GRADIENTS, gradients(*[linear(42)] * 200), ""),
    "ids": (GRADIENTS, gradients(embedding(2**22), FLAT, inputs=[[0]]), ""),
    "positions": (GRADIENTS, gradients(embedding(256), FLAT, inputs=[[0] * 5000]), ""),
    "examples": (
        GRADIENTS,
        gradients(linear(20), inputs=[[1]] * 30_000, targets=[0] * 30_000, per_example=True),
        "",
    ),
    "unknown keys": (GRADIENTS, gradients(**{f"x{k}": 0 for k in range(16_000)}), ""),
    "a job's unknown keys": (PLAN, job(**{f"x{k}": 0 for k in range(16_000)}), ""),
    "nested lists": (PLAN, b'{"name": ' + b"[" * 200_000, ""),
    "classes far apart": (PLAN, job(dataset="far", class_weights="balanced"), ""),
    "a job's patches": (
        PLAN,
        job(dataset="dots", model={"layers": [conv(300, 225), FLAT, linear(1)]}),
        "",
    ),
    "a form's fields": ("POST /login", b"a=b&" * 60_000, FORM),
    "nested yaml": ("POST /submit", b"action=check&spec=" + b"[" * 90_000, FORM),
    "yaml of many lines": ("POST /submit", b"action=check&spec=" + b"a: 1%0A" * 14_000, FORM),
    "yaml of many values": ("POST /submit", b"action=check&spec=[" + b"1," * 49_000, FORM),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    folder = tmp_path_factory.mktemp("small")
    ids, few = np.zeros((20, 4), "int32"), np.zeros(20, "float32")
    far = np.array([0, 2**31 - 2] * 10)
    datasets = {
        "ids": {"inputs": ids, "targets": few},
        "far": {"inputs": ids, "targets": far},
        "dots": {"inputs": np.zeros((20, 1, 1, 1), "float32"), "targets": few},
    }
    with attacked(folder) as running:
        for name, arrays in datasets.items():
            file: Path = folder / f"{name}.npz"
            np.savez(file, inputs=arrays["inputs"], targets=arrays["targets"])
            running.client.put_dataset(name, file)
        assert running.request(GRADIENTS, gradients(linear(2)))[0] == 200  # start its processes
        yield running


def send(service: Attacked, name: str) -> int:
    head, body, kind = WORST[name]
    return service.request(head, body, kind or "application/json")[0]


class Growth:
    """The largest memory growth of a process of the service."""

    def __init__(self, service: Attacked) -> None:
        self._service = service
        self._before = service.held_bytes()
        self._new = max(self._before.values())  # a newly forked process shares as much as this
        self.most_bytes = 0

    def sample(self) -> None:
        for pid, held in self._service.held_bytes().items():
            self.most_bytes = max(self.most_bytes, held - self._before.get(pid, self._new))


def test_each_request_takes_little_memory_and_cpu_time(service: Attacked) -> None:
    wrong = []
    for name, (_, body, _) in WORST.items():
        growth, statuses = Growth(service), set[int]()

        def cost(name: str = name, statuses: set[int] = statuses) -> float:
            before = service.family_cpu_seconds()
            statuses.add(send(service, name))
            return service.family_cpu_seconds() - before

        with repeatedly(growth.sample, 0.01):
            seconds = least_seconds(cost, ROUNDS)
        figures = (
            f"{name}: {len(body)} B, {statuses}, CPU {seconds:.2f} s, {growth.most_bytes >> 20} MiB"
        )
        log.info(figures)
        taken = growth.most_bytes < 512 * MIB and seconds < 2
        if not (taken and statuses <= {200, 400, 413, 422}):
            wrong.append(figures)
    assert not wrong, wrong


def longest_wait(service: Attacked) -> float:
    """The most seconds that the service took to answer /healthz beside forty requests."""
    names = [name for name, (head, _, _) in WORST.items() if head == GRADIENTS] * 4
    waits: list[float] = []

    def probe() -> None:
        started = time.monotonic()
        assert service.request("GET /healthz")[0] == 200
        waits.append(time.monotonic() - started)

    threads = [threading.Thread(target=send, args=(service, name)) for name in names[:40]]
    with repeatedly(probe, 0.05):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(waits) > 3
    return max(waits)


def test_health_is_answered_during_forty_of_the_worst_requests(service: Attacked) -> None:
    waits = [longest_wait(service) for _ in range(ROUNDS)]
    log.info("healthz beside 40: at most %s s", waits)
    assert min(waits) < 0.5
    assert service.request(GRADIENTS, gradients(linear(2)))[0] == 200
