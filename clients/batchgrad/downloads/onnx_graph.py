"""An ONNX graph that grows node by node."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchgrad.downloads.reading import Tensor


@dataclass
class Graph:
    """The nodes and constants of a growing graph; each node's result has a name of its own."""

    onnx: Any
    tensors: Mapping[str, Tensor]
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    @property
    def number(self) -> int:
        """The element type of parameters and outputs."""
        kinds = self.onnx.TensorProto
        wide = any(tensor.dtype == "float64" for tensor in self.tensors.values())
        return int(kinds.DOUBLE if wide else kinds.FLOAT)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its result."""
        name = f"value_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, [*inputs], [name], **attributes))
        return name

    def parameter(self, name: str) -> str:
        """Make a parameter a constant; return its name."""
        shape, content = self.tensors[name].shape, self.tensors[name].content.tobytes()
        made = self.onnx.helper.make_tensor(name, self.number, shape, content, raw=True)
        self.constants.append(made)
        return name

    def parameters(self, prefix: str) -> list[str]:
        """The weight and, if there is one, the bias."""
        names = [f"{prefix}{name}" for name in ("weight", "bias")]
        return [self.parameter(name) for name in names if name in self.tensors]

    def numbers(self, kind: int, values: Any) -> str:
        """Make a number or nested lists of numbers a constant; return its name."""
        shape: list[int] = []
        flat = [values]
        while isinstance(flat[0], list):
            shape.append(len(flat[0]))
            flat = [x for row in flat for x in row]
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.helper.make_tensor(name, kind, shape, flat))
        return name
