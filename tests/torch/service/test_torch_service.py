"""PyTorch jobs on a real service: uploaded code, replay, card, pages, refusals, sweeps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from safetensors.numpy import load

import batchgrad
from batchgrad import Client, Conflict, InvalidArgument, InvalidRequest, Job
from batchgrad.torch import to_torch
from batchgrad.user_machine.private_service import COMMAND, private_service

TOKEN = "0123456789abcdef" * 4
CODE = '''
"""A package that a test sends."""

from pathlib import Path

from torch import nn

from batchgrad.torch import classification

print("imported")


class Loud(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.last = nn.Linear(6, width), nn.Linear(width, 3)

    def forward(self, inputs):
        print("forward")
        return self.last(self.first(inputs).tanh())


def build(config):
    return classification(Loud(config["width"] + len(Path(__file__).with_name("one").read_text())))
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    file = folder.with_suffix(".token")
    file.write_text(TOKEN)
    file.chmod(0o600)
    with private_service((*COMMAND, "--token-file", str(file)), folder=folder) as client:
        generator = np.random.default_rng(3)
        inputs = generator.normal(size=(60, 6)).astype(np.float32)
        client.put_dataset("d", {"inputs": inputs, "targets": np.arange(60) % 3})
        yield client


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code") / "sent_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(CODE)
    (folder / "one").write_text("1")
    return folder


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "name": "sent",
        "dataset": "d",
        "model": {"torch": "sent_package:build", "config": {"width": 4}},
        "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        "batch_size": 20,
        "epochs": 3,
        "validation_fraction": 0.1,
        "workers": 0,
        "threads": 1,
        **changes,
    }


@pytest.fixture(scope="module")
def job(client: Client, package: Path) -> Job:
    planned = client.plan(spec(), code=package)
    assert planned.parameters == 6 * 5 + 5 + 5 * 3 + 3  # the file beside the code was read
    queued = client.submit(spec(), code=package)
    done = client.wait(queued.id)
    assert done.status == "succeeded", done.detail
    return done


def test_a_step_of_uploaded_code_is_replayed(client: Client, job: Job) -> None:
    found = client.step_examples(job.id, 4)
    assert found.verified
    assert len(found.data) == 20


def test_the_card_names_function_config_and_code(client: Client, job: Job) -> None:
    content = client.parameters(job.id)
    card = batchgrad.read_card(content)
    assert card.training is not None
    model = card.training.spec["model"]
    assert (model["torch"], model["config"]) == ("sent_package:build", {"width": 4})
    assert model["code"] == job.spec.model.code
    assert card.training.versions["torch"].startswith(torch.__version__.partition("+")[0])
    with pytest.raises(InvalidArgument, match=r"that sent_package:build builds, not of layers"):
        _ = card.layers
    with pytest.raises(InvalidArgument, match=r"that sent_package:build builds, not of layers"):
        to_torch(content)


def test_predictions_and_evaluations_are_refused_with_the_remedy(client: Client, job: Job) -> None:
    with pytest.raises(Conflict, match=r"batchgrad\.torch\.load\(module, client\.job"):
        client.predict(job.id, np.zeros((2, 6)))
    with pytest.raises(Conflict, match="whose outputs the service does not compute"):
        client.evaluate(job.id, dataset="d")


def test_the_pages_show_the_job_and_its_plan(client: Client, job: Job) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(headers=headers, timeout=120) as http:
        for path in ("/", f"/jobs/{job.id}", f"/jobs/{job.id}/examples"):
            assert http.get(f"{client.url}{path}").status_code == 200
        for path in ("examples?predictions=true", "confusion"):
            shown = http.get(f"{client.url}/jobs/{job.id}/{path}").text
            assert "whose outputs the service does not compute" in shown
        page = http.get(f"{client.url}/jobs/{job.id}").text
        assert "torch: sent_package:build" in page
        text = "name: x\ndataset: d\nmodel: {torch: 'tests.torch.small_modules:residual'}\n"
        text += "optimizer: {kind: sgd, learning_rate: 0.1}\nbatch_size: 20\nepochs: 1\n"
        checked = http.post(f"{client.url}/submit", data={"spec": text, "action": "check"}).text
        assert "<code>tests.torch.small_modules:residual</code>" in checked
        wrong = text.replace("residual", "nothing")
        checked = http.post(f"{client.url}/submit", data={"spec": wrong, "action": "check"}).text
        assert "has no function nothing" in checked
        assert 'data-line="3"' in checked


def test_a_job_starts_from_the_parameters_of_another(client: Client, job: Job) -> None:
    start = client.submit(
        {
            **job.spec.model_dump(exclude_none=True),
            "initial_parameters": {"job": job.id},
            "epochs": 1,
            "optimizer": {"kind": "sgd", "learning_rate": 1e-30},
            "keep": "last",
        }
    )
    assert client.wait(start.id).status == "succeeded"
    given, found = (load(client.parameters(each.id)) for each in (job, start))
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in given.items()
    }
    client.delete(start.id)


def test_keys_of_the_configuration_are_swept(client: Client, job: Job) -> None:
    swept = client.sweep(
        job.spec.model_dump(exclude_none=True), {"model.config.width": [2, 3]}, name="widths"
    )
    jobs = [client.wait(each.id) for each in swept]
    assert [each.status for each in jobs] == ["succeeded", "succeeded"]
    sizes = [len(client.parameters(each.id)) for each in jobs]
    assert sizes[0] < sizes[1]
    for each in jobs:
        client.delete(each.id)


def test_a_job_can_be_lengthened_and_its_code_goes_with_its_last_job(
    client: Client, job: Job, folder: Path
) -> None:
    client.resume(job.id, more_epochs=1)
    assert client.wait(job.id).epoch == 4
    [directory] = folder.iterdir()
    [file] = (directory / "code").iterdir()
    assert file.stem == str(job.spec.model.code).removeprefix("sha256:")
    again = client.submit(job.spec)  # without the code, which the service has
    client.wait(again.id)
    client.delete(job.id)
    assert file.exists()
    client.delete(again.id)
    assert not file.exists()


def test_code_with_an_error_is_refused_at_submission(client: Client, package: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"sent_package/__init__\.py, line 24, in build: Key"):
        client.submit(spec(model={"torch": "sent_package:build"}), code=package)
