"""Networks from a job to PyTorch and back: the same outputs and the same parameters."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from safetensors.numpy import load
from torch import nn

from batchgrad import Client
from batchgrad.contract import LAYERS, Job, JobSpec, Precision
from batchgrad.downloads.card import Card
from batchgrad.downloads.onnx import to_onnx
from batchgrad.downloads.reading import read_card
from batchgrad.errors import BatchgradError
from batchgrad.files import CARD_FILE
from batchgrad.torch import exported, from_torch, to_torch
from batchgrad.torch.networks.exporting import MODULES
from batchgrad.torch.networks.layers import LAYERS as MODULE_LAYERS
from batchgrad_engine.checkpoints.origin import read_origin
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.nn.network import Network
from tests.clients.conftest import JOB
from tests.engine.made_downloads import download, drawn_inputs, outputs
from tests.engine.small_job import spec
from tests.engine.test_onnx import computed
from tests.workers.stacks import STACKS, network

PLAIN: dict[str, Any] = {
    "name": "back",
    "dataset": "d",
    "loss": "squared_error",
    "optimizer": {"kind": "sgd", "learning_rate": 0.1},
    "batch_size": 8,
    "epochs": 1,
}


def run(net: Any, inputs: Any) -> Any:
    with torch.no_grad():
        return net(torch.from_numpy(np.ascontiguousarray(inputs))).numpy()


def back(net: Any, shape: tuple[int, ...]) -> tuple[JobSpec, Network, dict[str, Any]]:
    """The spec, our network and its parameters."""
    keys = from_torch(net)
    job = JobSpec.model_validate({**PLAIN, **keys})
    given = keys.get("initial_parameters", {}).get("safetensors", "")
    return job, Network(job.model, shape), load(base64.b64decode(given)) if given else {}


def our_outputs(of: Network, parameters: dict[str, Any], inputs: Any) -> Any:
    return of.forward(of.views(of.flat(parameters)), inputs)[-1]


def test_every_layer_has_a_counterpart() -> None:
    assert MODULES.keys() | {"residual"} >= LAYERS.keys()
    assert len(MODULE_LAYERS) == len(MODULES)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float64", 1e-8)])
@pytest.mark.parametrize("name", STACKS)
def test_there_and_back(name: str, precision: Precision, tolerance: float) -> None:
    """Softplus is torch's, which is a itself above 20: an error of 2e-9."""
    of, layers = network(name), STACKS[name][1]
    content = download(of, layers, precision, loss="squared_error")
    inputs = drawn_inputs(of, precision)
    net = to_torch(content)
    assert not net.training
    found, expected = run(net, inputs), outputs(of, inputs, precision)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)

    job, again, parameters = back(net, of.input_shape)
    assert job.model == spec(model={"layers": layers}).model
    assert job.precision == precision
    original = load(content)
    assert parameters.keys() == original.keys()
    for key, array in parameters.items():
        assert array.tobytes() == original[key].tobytes()
    assert our_outputs(again, parameters, inputs).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["linear", "conv2d", "embedding", "max_pool2d", "elementwise"])
def test_a_file_of_torch_export(name: str) -> None:
    """It runs any number of examples, without batchgrad."""
    of, layers = network(name), STACKS[name][1]
    content = download(of, layers, "float32")
    files = {CARD_FILE: ""}
    program = torch.export.load(BytesIO(exported(content)), extra_files=files)
    for examples in (2, 5):
        inputs = drawn_inputs(of, "float32", examples)
        expected = outputs(of, inputs, "float32")
        np.testing.assert_allclose(run(program.module(), inputs), expected, rtol=1e-5, atol=1e-5)
    assert Card.read(json.loads(files[CARD_FILE])) == read_card(content)


def test_standardization_goes_along(tmp_path: Path) -> None:
    of = network("linear")
    known = Standardization(np.full(5, 1e6), np.array([1.0, 2, 3, 4, 5]))
    inputs = (1e6 + drawn_inputs(of, "float32")).astype(np.float32)
    content = download(of, STACKS["linear"][1], "float32", known)
    file = tmp_path / "job.safetensors"
    file.write_bytes(content)
    net = to_torch(file)
    expected = outputs(of, known.apply(inputs, "float32"), "float32")
    np.testing.assert_allclose(run(net, inputs), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        run(net, inputs), computed(to_onnx(content), inputs)["outputs"], rtol=1e-5, atol=1e-6
    )
    keys = from_torch(net)
    assert keys["standardize"] is True
    assert keys["initial_parameters"]["standardization"] == "keep"
    kept = read_origin(base64.b64decode(keys["initial_parameters"]["safetensors"])).transform
    assert isinstance(kept, Standardization)
    assert kept.mean.tolist() == known.mean.tolist()
    assert kept.deviation.tolist() == known.deviation.tolist()


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 2)), (4,)),
        (
            lambda: nn.Sequential(
                nn.Conv2d(2, 4, 3, padding=(1, 0), stride=2, groups=2),
                nn.GroupNorm(2, 4),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(4, 3),
            ),
            (2, 6, 5),
        ),
        (
            lambda: nn.Sequential(
                nn.Conv1d(2, 4, 3, padding="valid"), nn.AdaptiveAvgPool1d(1), nn.Flatten()
            ),
            (2, 6),
        ),
        (lambda: nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Dropout(0.3), nn.ELU(0.5)), (2, 2)),
    ],
)
def test_networks_of_pytorch(make: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = make().double().eval()
    inputs = np.random.default_rng(0).normal(size=(5, *shape))
    job, of, parameters = back(net, shape)
    views = of.views(of.flat(parameters)) if parameters else [{} for _ in of.layers]
    found = of.forward(views, inputs)[-1]
    np.testing.assert_allclose(found, run(net, inputs), rtol=1e-10, atol=1e-12)
    assert job.precision == ("float64" if parameters else "float32")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Linear(2, 2), "network is Linear; expected a torch.nn.Sequential"),
        (3, "network is int"),
        (nn.Sequential(), "no modules"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "Module 1, BatchNorm1d, .*GroupNorm"),
        (nn.Sequential(nn.Sequential(nn.LSTM(2, 2))), "Module 0.0, LSTM, has no counterpart"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)), "softmax_cross_entropy contains it"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1)), r"put nn.Flatten\(\) after it"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(2)), "only an output of size 1"),
        (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode is True; only False"),
        (nn.Sequential(nn.GELU("tanh")), "approximate is 'tanh'"),
        (nn.Sequential(nn.Conv1d(1, 1, 3, padding="same")), "give it as a number"),
        (nn.Sequential(nn.LayerNorm([2, 3])), "only one over the last axis"),
        (nn.Sequential(nn.Linear(2, 2).half()), "float16 parameters.*network.float"),
        (nn.Sequential(nn.Flatten(0)), "start_dim is 0"),
    ],
)
def test_what_has_no_counterpart_is_named(net: Any, message: str) -> None:
    with pytest.raises(BatchgradError, match=message):
        from_torch(net)


def test_a_job_that_a_client_gave() -> None:
    content = download(network("linear"), STACKS["linear"][1])

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/parameters"):
            return httpx2.Response(200, content=content)
        return httpx2.Response(200, json=JOB)

    transport = httpx2.MockTransport(answer)
    with Client(url="http://service", token="t", transport=transport) as client:  # noqa: S106
        net = to_torch(client.job("job_1"))
    assert net.state_dict().keys() == load(content).keys()
    with pytest.raises(BatchgradError, match="No client gave job"):
        to_torch(Job.model_validate(JOB))


@pytest.mark.parametrize("source", [b"", b"PK", 3, "/no/such.safetensors"])
def test_what_is_no_download_is_refused(source: Any) -> None:
    with pytest.raises(BatchgradError):
        to_torch(source)
