"""The claim of `compare` on every ready example: no shortcut trains better than the gradient."""

from pathlib import Path

import httpx2
import pytest

from batchgrad import Client
from batchgrad.parsing.spec_files import load_job
from batchgrad.user_machine import built_in
from batchgrad.user_machine import compare as comparing
from tests.service.building import npz
from tests.service.conftest import Bench
from tests.service.trained import take_attempt

EXAMPLES = Path(__file__).parents[2] / "examples"


class Training(httpx2.BaseTransport):
    """A bench's service, which trains a job in this process before it answers its submission."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._bench.http._transport.handle_request(request)
        if (request.method, request.url.path) == ("POST", "/v1/jobs"):
            answer.read()
            take_attempt(self._bench, answer.json()["id"])
        return answer


@pytest.mark.parametrize(
    ("name", "epochs", "variants"),
    [
        ("line-fit", 20, 3),
        ("logistic-regression", 10, 3),
        ("mlp", 5, 3),
        ("convnet", 3, 3),
        ("class-weights", 30, 4),
    ],
)
def test_mean_gradient_trains_no_worse_than_any_shortcut(
    bench: Bench, name: str, epochs: int, variants: int
) -> None:
    spec = load_job(EXAMPLES / f"{name}.yaml", [f"epochs={epochs}"])
    inputs, targets = built_in.load(spec.dataset)
    content = npz(inputs=inputs, targets=targets)
    assert bench.http.put(f"/v1/datasets/{spec.dataset}", content=content).status_code == 201
    with Client("http://127.0.0.1", transport=Training(bench)) as client:
        exact, *shortcuts = comparing.compare(client, spec)
    assert len(shortcuts) == variants - 1
    assert exact.last_epoch_loss is not None
    assert exact.training_loss is not None
    for shortcut in shortcuts:
        assert exact.last_epoch_loss <= 1.01 * (shortcut.last_epoch_loss or float("inf"))
        assert exact.training_loss <= 1.01 * (shortcut.training_loss or float("inf"))
