"""A module, its data and its keys as requests; wrong arguments send nothing."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from batchgrad.contract import JobSpec
from batchgrad.errors import InvalidArgument
from batchgrad.torch import classification, train
from batchgrad.torch.packing.archive import pack
from batchgrad.torch.submitting import job_of
from tests.clients.conftest import Kit
from tests.clients.fake_uploads import FakeUploads

SGD = {"kind": "sgd", "learning_rate": 0.1}
KEYS: dict[str, Any] = {"batch_size": 4, "optimizer": SGD, "steps": 3}


class Service(FakeUploads):
    """Takes code, datasets and jobs."""

    def __init__(self) -> None:
        super().__init__(Kit)
        self.datasets: dict[str, bytes] = {}
        self.jobs: list[Any] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        name = request.url.path.rpartition("/")[2]
        if request.url.path == "/v1/jobs":
            self.jobs.append(json.loads(request.content))
            return Kit.answer(201, Kit.job())
        if request.method == "PUT":
            self.datasets[name] = request.content
            return Kit.answer(201, {**Kit.DATASET, "name": name})
        return super().__call__(request)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(9)
    return nn.Linear(3, 2)


def arrays() -> dict[str, Any]:
    return {"inputs": np.ones((6, 3), np.float32), "targets": torch.zeros(6, dtype=torch.int64)}


def test_a_module_becomes_a_spec_with_code_and_values(module: nn.Module) -> None:
    service = Service()
    with Kit.Script(service).client() as client:
        client.submit(module, "digits", loss="cross_entropy", autocast="bfloat16", seed=4, **KEYS)
    packed = pack(classification(module))
    [sent] = service.jobs
    [digest] = [name for name, each in service.parts.items() if each == packed.archive]
    start = service.parts[sent.pop("initial_parameters")["digest"]]
    assert torch.equal(safetensors.torch.load(start)["weight"], module.weight)
    assert sent == {
        **KEYS,
        "name": "Linear",
        "dataset": "digits",
        "seed": 4,
        "precision": "float32",
        "model": {"torch": packed.function, "code": digest, "autocast": "bfloat16"},
    }
    JobSpec.model_validate(sent)
    assert service.datasets == {}


def test_data_are_stored_under_a_name_of_their_content(module: nn.Module) -> None:
    service = Service()
    other = {**arrays(), "inputs": np.zeros((6, 3))}
    with Kit.Script(service).client() as client:
        for data in [arrays(), tuple(arrays().values()), other]:
            client.submit(classification(module), data, **KEYS)
    assert len(service.parts) == 2  # the same code and parameters
    names = [job["dataset"] for job in service.jobs]
    assert names[0] == names[1] != names[2]
    assert sorted(set(names)) == sorted(service.datasets)


def test_half_and_double_precision(module: nn.Module) -> None:
    service = Service()
    with Kit.Script(service).client() as client:
        client.submit(module.double(), "d", loss="mse", **KEYS)
        client.submit(module, "d", loss="mse", precision="float32", **KEYS)
    assert [job["precision"] for job in service.jobs] == ["float64", "float32"]


@pytest.mark.parametrize(
    ("of_class", "expected"),
    [("_Net", "Net"), ("Übernet", "bernet"), ("_", "module"), ("N" * 200, "N" * 128)],
)
def test_every_class_has_a_name_for_its_job(of_class: str, expected: str) -> None:
    made = type(of_class, (nn.Linear,), {"__module__": "__main__"})(4, 3)
    assert job_of(made, "mse", KEYS).spec["name"] == expected


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in KEYS.items() if name != key}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "loss is required with a module"),
    ({"loss": "crossentropy"}, "did you mean softmax_cross_entropy?"),
    ({"loss": "mse", "lr": 0.1}, "lr is a key of the optimizer"),
    ({"loss": "mse", "batchsize": 3}, "no key batchsize: did you mean batch_size?"),
    ({"loss": "mse", "spam": 3}, "no key spam; the keys of a spec are name"),
    ({"loss": "mse", "model": {}}, "got model: it is made of the module"),
    ({"loss": "mse", "epochs": 3}, "got both of epochs and steps"),
    ({"loss": "mse", "steps": None}, "got neither of epochs and steps"),
    ({"loss": "mse", "batch_size": 0}, "batch_size"),
    ({"loss": "mse", "optimizer": "adam"}, "optimizer is 'adam'; expected its kind and numbers"),
    (
        {"loss": "mse", "optimizer": torch.optim.SGD([torch.ones(1)], 0.1)},
        "optimizer is a torch.optim.sgd.SGD; expected its kind and numbers, such as {'kind': ",
    ),
    ({"loss": "mse", "optimizer": {"kind": "adan", "learning_rate": 1}}, "did you mean adam"),
    ({"loss": "mse", "optimizer": {"kind": "adam", "lr": 1}}, "did you mean learning_rate"),
    ({"loss": "mse", "workers": -1}, "workers"),
]


@pytest.mark.parametrize(("keys", "message"), WRONG)
def test_wrong_keys_send_nothing(module: nn.Module, keys: dict[str, Any], message: str) -> None:
    script = Kit.Script(Service())
    with script.client() as client, pytest.raises(InvalidArgument, match=message):
        client.submit(module, arrays(), **{**KEYS, **keys})
    assert script.seen == []
    with pytest.raises(InvalidArgument, match=message):
        train(module, **arrays(), client=script.client(), **{**KEYS, **keys})
    assert script.seen == []


def test_what_is_no_module_is_refused(module: nn.Module) -> None:
    wrong: list[tuple[Callable[[Any], Any], str]] = [
        (lambda client: client.submit(nn.Linear, "d", **KEYS), "module is the class Linear"),
        (lambda client: client.submit(module, loss="mse", **KEYS), "data is required"),
        (lambda client: client.submit("digits", "d"), "a spec is keys and values, got a str"),
        (
            lambda client: client.submit(classification(module), "d", loss="mse", **KEYS),
            "a Task has its own; remove the loss",
        ),
        (lambda client: client.submit(module, "d", loss="mse", code=".", **KEYS), "is packed with"),
    ]
    script = Kit.Script(Service())
    with script.client() as client:
        for call, message in wrong:
            with pytest.raises(InvalidArgument, match=message):
                call(client)
    assert script.seen == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile imports
def test_a_compiled_module_is_refused(module: nn.Module) -> None:
    with pytest.raises(InvalidArgument, match=r"0 is compiled by torch\.compile"):
        classification(nn.Sequential(torch.compile(module)))


WRONG_ARRAYS: list[tuple[dict[str, Any], str]] = [
    ({"inputs": np.ones((5, 3))}, "have rows: inputs 5, targets 6; expected one of each"),
    ({"weights": [1.0]}, "inputs 6, targets 6, weights 1"),
    ({"inputs": 3}, "inputs is 3, of type int; expected an array or a tensor"),
    ({"inputs": torch.tensor(3.0)}, "of type Tensor; expected an array"),
    ({"inputs": {"targets": [1]}}, "got targets twice"),
    ({"inputs": {"x": []}, "targets": None}, "have no rows"),
    ({"inputs": TensorDataset(torch.ones(6, 2))}, r"is a TensorDataset; .* \*dataset\.tensors"),
    ({"inputs": DataLoader(TensorDataset(torch.ones(6, 2)))}, "inputs is a DataLoader; expected"),
    ({"targets": np.array(["a", None] * 3)}, "Python objects; .*numpy.unique"),
    ({"targets": None}, "The array inputs has no targets: give them"),
    ({"inputs": torch.ones(6, 2).bfloat16()}, r"inputs cannot .* inputs\.float\(\) is a tensor"),
    ({"client": 7}, "client is a int; expected a batchgrad.Client"),
    ({"progress": 1}, "progress is 1; expected True or False"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_ARRAYS)
def test_wrong_arrays_send_nothing(
    module: nn.Module, changes: dict[str, Any], message: str
) -> None:
    script = Kit.Script(Service())
    given = {"loss": "cross_entropy", **arrays(), **KEYS, "client": script.client(), **changes}
    with pytest.raises(InvalidArgument, match=message):
        train(module, **given)
    assert script.seen == []
