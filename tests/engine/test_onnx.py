"""ONNX models of downloads: the outputs of our network, for every kind of layer."""

import json
import sys
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from scipy.special import expit, softmax

from batchgrad import Client
from batchgrad.contract import LAYERS, Precision
from batchgrad.downloads.card import Card
from batchgrad.downloads.onnx import to_onnx
from batchgrad.downloads.onnx_nodes import NODES
from batchgrad.downloads.reading import read_card
from batchgrad.errors import FileFailed, InvalidArgument, Unavailable
from batchgrad_workers.data.standardization import Standardization
from tests.engine.made_downloads import download, drawn_inputs, outputs
from tests.workers.stacks import HEAD, STACKS, network


def computed(model: bytes, inputs: Any) -> dict[str, Any]:
    evaluator = ReferenceEvaluator(onnx.load_from_string(model))
    found = evaluator.run(None, {"inputs": inputs})
    return dict(zip(evaluator.output_names, found, strict=True))


def test_every_layer_has_a_counterpart() -> None:
    assert NODES.keys() >= LAYERS.keys()


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float64", 1e-8)])
@pytest.mark.parametrize("name", STACKS)
def test_outputs_are_those_of_the_network(
    name: str, precision: Precision, tolerance: float
) -> None:
    """The reference evaluator computes erf in float32, and eps is an attribute in float32."""
    of, layers = network(name), STACKS[name][1]
    inputs = drawn_inputs(of, precision)
    found = computed(to_onnx(download(of, layers, precision, loss="squared_error")), inputs)
    expected = outputs(of, inputs, precision)
    assert found.keys() == {"outputs"}
    assert found["outputs"].dtype == expected.dtype
    np.testing.assert_allclose(found["outputs"], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("loss", "link"),
    [
        ("softmax_cross_entropy", lambda rows: softmax(rows, axis=1)),
        ("sigmoid_cross_entropy", expit),
    ],
)
def test_inputs_are_standardized_and_outputs_become_probabilities(loss: str, link: Any) -> None:
    """Far from 0, where float32 would lose the inputs' digits."""
    of = network("linear")
    known = Standardization(np.full(5, 1e6), np.array([1.0, 2, 3, 4, 5]))
    inputs = (1e6 + drawn_inputs(of, "float32")).astype(np.float32)
    content = download(of, STACKS["linear"][1], "float32", known, loss=loss)
    model = to_onnx(content)
    found = computed(model, inputs)
    expected = outputs(of, known.apply(inputs, "float32"), "float32")
    np.testing.assert_allclose(found["outputs"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["probabilities"], link(expected), rtol=1e-5, atol=1e-6)
    [card] = onnx.load_from_string(model).metadata_props
    assert card.key == "batchgrad"
    assert Card.read(json.loads(card.value)) == read_card(content)


def test_a_download_is_converted_and_replaces_such_a_file(tmp_path: Path) -> None:
    content = download(network("linear"), STACKS["linear"][1])
    sent = httpx2.MockTransport(lambda _: httpx2.Response(200, content=content))
    target = tmp_path / "network.onnx"
    with Client(url="http://service", token="t", transport=sent) as client:  # noqa: S106
        for _ in range(2):
            assert client.download("job_1", target) == target
        assert target.read_bytes() == to_onnx(content)
        target.write_bytes(b"\x08\x0a\x12\x07pytorch and its network")
        with pytest.raises(FileFailed, match="nothing was overwritten"):
            client.download("job_1", target)


def test_a_layer_without_a_counterpart_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(NODES, "linear")
    of = network("linear")
    with pytest.raises(InvalidArgument, match="Layer 0 is linear, which has no counterpart"):
        to_onnx(download(of, [HEAD | {"out_features": 4}, HEAD]))


def test_without_onnx_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Unavailable, match=r"pip install 'batchgrad\[onnx\]'"):
        to_onnx(b"")
