"""Per-example gradients of the gains and shifts of normalizations: layer, RMS, group, instance.

y = x̂∘γ + β with x̂ = (x - μ)·r, so that the gradient of γ is Σ_T δ∘x̂, and that of β is Σ_T δ.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from batchgrad_workers.torch.formulas.base import Arguments, Formed, Gradients, Kind, Layout

Given = dict[str, Any]


class Normalization(Kind):
    """A normalization with a gain (role "weight"), a shift (role "bias"), or both."""

    names: tuple[str, ...]
    """Of the function's arguments."""

    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        given = {**dict(zip(self.names, args, strict=False)), **kwargs}
        inputs = given.pop("input")
        parameters = {role: given.pop(role, None) for role in ("weight", "bias")}
        if not self.knows(inputs, given):
            return None
        own = {role: each for role, each in parameters.items() if each is not None}
        return Arguments(inputs, own, (function, given))

    def knows(self, inputs: Tensor, given: Given) -> bool:
        """Whether this form of the call has formulas."""
        del inputs, given
        return True

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        function, given = arguments.options
        result: Tensor = function(arguments.inputs, **given, **parameters)
        return result


class LayerNorm(Normalization):
    """layer_norm over the last axes, those of `normalized_shape`."""

    name = "layer_norm"
    functions = (functional.layer_norm, torch.layer_norm)
    names = ("input", "normalized_shape", "weight", "bias", "eps")

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """Keep each position's mean and 1/deviation."""
        given = arguments.options[1]
        result, *arguments.saved = torch.native_layer_norm(
            arguments.inputs,
            given["normalized_shape"],
            parameters.get("weight"),
            parameters.get("bias"),
            given.get("eps", 1e-5),
        )
        found: Tensor = result
        return found

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        del result
        return len(arguments.options[1]["normalized_shape"])

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        shape, kept = arguments.parameters[role].shape, len(arguments.parameters[role].shape)
        error = layout.rows(error, n, kept).flatten(2)
        if role == "bias":
            return Formed(error.sum(1).view(n, *shape))
        inputs = layout.rows(arguments.inputs.detach(), n, kept).flatten(2)
        mean, scale = (layout.rows(x.detach(), n, kept).flatten(2) for x in arguments.saved)
        rows = (error * scale).mul_(inputs).sum(1)
        rows -= torch.bmm((mean * scale).transpose(1, 2), error)[:, 0]
        return Formed(rows.view(n, *shape))


class RMSNorm(Normalization):
    """rms_norm over the last axes: x̂ = x / √(mean of x² + ε)."""

    name = "rms_norm"
    functions = (functional.rms_norm, torch.rms_norm)
    names = ("input", "normalized_shape", "weight", "eps")

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        del result
        return len(arguments.options[1]["normalized_shape"])

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        shape, given = arguments.parameters[role].shape, arguments.options[1]
        error = layout.rows(error, n, len(shape)).flatten(2)
        inputs = layout.rows(arguments.inputs.detach(), n, len(shape)).flatten(2)
        least = given.get("eps")
        least = torch.finfo(inputs.dtype).eps if least is None else least
        size = torch.linalg.vector_norm(inputs, dim=2, keepdim=True)
        scale = (size.square() / prod(shape) + least).rsqrt()
        return Formed((error * scale).mul_(inputs).sum(1).view(n, *shape))


class NormOfChannels(Normalization):
    """A normalization with a gain and a shift for each channel, on the second axis."""

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        kept = error.dim() - 1
        error = layout.rows(error, n, kept)
        error = error.reshape(*error.shape[:3], -1)
        if role == "bias":
            return Formed(error.sum((1, 3)))
        inputs = layout.rows(arguments.inputs.detach(), n, kept).reshape(error.shape)
        mean, scale = self.statistics(arguments, inputs, layout, n)
        groups = inputs.unflatten(2, (mean.shape[2], -1))
        rows = (groups - mean[..., None, None]).mul_(error.view_as(groups)).sum(4)
        return Formed(rows.mul_(scale[..., None]).flatten(2).sum(1))

    @abstractmethod
    def statistics(
        self, arguments: Arguments, inputs: Tensor, layout: Layout, n: int
    ) -> tuple[Tensor, Tensor]:
        """μ and r (n, T, groups) of inputs (n, T, channels, positions)."""


class GroupNorm(NormOfChannels):
    """group_norm."""

    name = "group_norm"
    functions = (functional.group_norm, torch.group_norm)
    names = ("input", "num_groups", "weight", "bias", "eps")

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """Keep each group's mean and 1/deviation."""
        inputs, given = arguments.inputs.contiguous(), arguments.options[1]
        result, *arguments.saved = torch.native_group_norm(
            inputs,
            parameters.get("weight"),
            parameters.get("bias"),
            *inputs.shape[:2],
            prod(inputs.shape[2:]),
            given["num_groups"],
            given.get("eps", 1e-5),
        )
        found: Tensor = result
        return found

    def statistics(
        self, arguments: Arguments, inputs: Tensor, layout: Layout, n: int
    ) -> tuple[Tensor, Tensor]:
        del inputs
        mean, scale = (layout.rows(x.detach(), n, 1) for x in arguments.saved)
        return mean, scale


class InstanceNorm(NormOfChannels):
    """instance_norm by an image's own mean and variance."""

    name = "instance_norm"
    functions = (functional.instance_norm,)
    names = (
        "input",
        "running_mean",
        "running_var",
        "weight",
        "bias",
        "use_input_stats",
        "momentum",
        "eps",
    )

    def knows(self, inputs: Tensor, given: Given) -> bool:
        own = given.get("use_input_stats", True) and given.get("running_mean") is None
        return bool(own) and inputs.dim() > 2

    def statistics(
        self, arguments: Arguments, inputs: Tensor, layout: Layout, n: int
    ) -> tuple[Tensor, Tensor]:
        del layout, n
        variance, mean = torch.var_mean(inputs, 3, correction=0)
        return mean, (variance + arguments.options[1].get("eps", 1e-5)).rsqrt()


class FixedBatchNorm(NormOfChannels):
    """batch_norm as in evaluation: by a mean and a variance that are given."""

    name = "batch_norm"
    functions = (functional.batch_norm,)
    names = (
        "input",
        "running_mean",
        "running_var",
        "weight",
        "bias",
        "training",
        "momentum",
        "eps",
    )

    def knows(self, inputs: Tensor, given: Given) -> bool:
        del inputs
        return not given.get("training", False)

    def statistics(
        self, arguments: Arguments, inputs: Tensor, layout: Layout, n: int
    ) -> tuple[Tensor, Tensor]:
        del layout, n
        given = arguments.options[1]
        scale = (given["running_var"] + given.get("eps", 1e-5)).rsqrt()
        shape = inputs.shape[:3]
        return given["running_mean"].expand(shape), scale.expand(shape)
