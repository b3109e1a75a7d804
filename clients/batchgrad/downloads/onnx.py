"""A download as an ONNX model; needs the library onnx."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchgrad.contract.model import Model
from batchgrad.downloads.card import Card
from batchgrad.downloads.onnx_graph import Graph
from batchgrad.downloads.onnx_nodes import Spec, add_layers
from batchgrad.downloads.reading import KEY, content_of, read_card, read_metadata, read_tensors
from batchgrad.errors import Unavailable

OPSET, IR_VERSION = 21, 10
"""The first with GroupNormalization by channel, and the format that came with it."""


def to_onnx(file: str | Path | bytes) -> bytes:
    """An ONNX model of a safetensors download: a path, or its bytes.

    Its input `inputs` (n, …) are raw arrays, which it standardizes in float64 as the job did, ids,
    or a table's encoded rows, which `Card.encode` gives. Its outputs are `outputs` and, if the loss
    has a link, `probabilities`. Its metadata hold the model card under the key batchgrad.

    Raises:
        InvalidArgument: the file is no safetensors download, or has no layers in its card.
        FileFailed: it can't be read.
        Unavailable: onnx is not installed.
    """
    try:
        onnx = importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        raise Unavailable("ONNX needs the library onnx: pip install 'batchgrad[onnx]'.") from error
    content = content_of(file)
    metadata, graph = read_metadata(content), Graph(onnx, read_tensors(content))
    card = read_card(content)
    layers = Model.model_validate({"layers": card.layers}).model_dump()["layers"]
    made = _model(graph, card, layers)
    onnx.helper.set_model_props(made, {KEY: json.dumps(metadata)})
    onnx.checker.check_model(made, full_check=True)
    written: bytes = made.SerializeToString()
    return written


def _model(graph: Graph, card: Card, layers: Sequence[Spec]) -> Any:
    """The whole model."""
    onnx, number = graph.onnx, graph.number
    outputs = {"outputs": add_layers(graph, layers, "", _standardized(graph, card))}
    shape = ["n", *(card.training.input_shape if card.training else [])]
    link = card.training.link if card.training else None
    if link is not None:
        flat = graph.node("Flatten", outputs["outputs"], axis=1)
        last: dict[str, Any] = {"axis": -1} if link == "softmax" else {}
        outputs["probabilities"] = graph.node(link.capitalize(), flat, **last)
    for name, value in outputs.items():
        graph.nodes.append(onnx.helper.make_node("Identity", [value], [name]))
    ranks = dict.fromkeys(outputs, 1) | {"outputs": _axes(layers, len(shape) - 1)}
    described = onnx.helper.make_tensor_value_info
    first = onnx.TensorProto.INT64 if layers[0]["kind"] == "embedding" else number
    made = onnx.helper.make_graph(
        graph.nodes,
        "batchgrad",
        [described("inputs", first, shape)],
        [described(name, number, ["n", *[None] * axes]) for name, axes in ranks.items()],
        graph.constants,
    )
    return onnx.helper.make_model(
        made,
        producer_name="batchgrad",
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )


def _axes(layers: Sequence[Spec], axes: int) -> int:
    """Number of axes of an example's output, if its input has `axes`."""
    for spec in layers:
        more = {"embedding": 1, "sequence_mean": -1}
        flat = spec["kind"] in {"flatten", "global_avg_pool"}
        axes = 1 if flat else axes + more.get(spec["kind"], 0)
    return axes


def _standardized(graph: Graph, card: Card) -> str:
    """The network's inputs, from raw ones."""
    if card.standardization is None:
        return "inputs"
    wide = graph.node("Cast", "inputs", to=graph.onnx.TensorProto.DOUBLE)
    known = (card.standardization.mean, card.standardization.deviation)
    mean, deviation = (graph.numbers(graph.onnx.TensorProto.DOUBLE, each) for each in known)
    scaled = graph.node("Div", graph.node("Sub", wide, mean), deviation)
    return graph.node("Cast", scaled, to=graph.number)
