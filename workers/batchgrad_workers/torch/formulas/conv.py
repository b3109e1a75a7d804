"""Convolutions, plain and transposed, in 1, 2 and 3 axes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from batchgrad_workers.torch.formulas.base import Arguments, Formed, Gradients, Kind, Layout
from batchgrad_workers.torch.formulas.conv_geometry import Geometry
from batchgrad_workers.torch.formulas.conv_gradients import OfWeight, Use

AXES: dict[Callable[..., Any], tuple[int, bool]] = {
    torch.conv1d: (1, False),
    torch.conv2d: (2, False),
    torch.conv3d: (3, False),
    torch.conv_transpose1d: (1, True),
    torch.conv_transpose2d: (2, True),
    torch.conv_transpose3d: (3, True),
}
"""Of each function: how many axes a kernel has, and whether it is the transposed convolution."""

PLAIN = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = (
    "input",
    "weight",
    "bias",
    "stride",
    "padding",
    "output_padding",
    "groups",
    "dilation",
)


class Convolution(Kind):
    """conv1d, conv2d, conv3d and their transposed forms, of a batch of images."""

    name = "convolution"
    functions = tuple(AXES)

    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        axes, transposed = AXES[function]
        names = TRANSPOSED if transposed else PLAIN
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        inputs, weight, bias = given["input"], given["weight"], given.get("bias")
        if inputs.dim() != axes + 2:
            return None

        def numbers(name: str, default: int) -> list[int]:
            value = given.get(name, default)
            values = [value] if isinstance(value, int) else list(value)
            return values * axes if len(values) == 1 else values

        dilation, padding = numbers("dilation", 1), [0] * axes
        if given.get("padding", 0) == "same":
            margins = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            padding = [margin // 2 for margin in margins]
            inputs = functional.pad(inputs, [x for m in reversed(margins) for x in (0, m % 2)])
        elif given.get("padding", 0) != "valid":
            padding = numbers("padding", 0)
        geometry = Geometry(
            numbers("stride", 1),
            padding,
            dilation,
            numbers("output_padding", 0),
            int(given.get("groups", 1)),
            transposed,
        )
        parameters = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        return Arguments(inputs, parameters, (function, geometry))

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        function, geometry = arguments.options
        options = {"output_padding": geometry.output_padding} if geometry.transposed else {}
        result: Tensor = function(
            arguments.inputs,
            parameters["weight"],
            parameters.get("bias"),
            stride=geometry.stride,
            padding=geometry.padding,
            dilation=geometry.dilation,
            groups=geometry.groups,
            **options,
        )
        return result

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        error = layout.rows(error, n, error.dim() - 1)
        if role == "bias":
            return Formed(error.flatten(3).sum((1, 3)))
        inputs = layout.rows(arguments.inputs.detach(), n, arguments.inputs.dim() - 1)
        use = Use(arguments.options[1], inputs.flatten(0, 1), error.flatten(0, 1))
        return OfWeight([use], tuple(arguments.parameters[role].shape), n)
