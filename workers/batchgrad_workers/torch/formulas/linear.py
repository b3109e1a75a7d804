"""Products of an input and a weight: F.linear, addmm, and matmul from either side."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from batchgrad_workers.torch.formulas.base import Arguments, Formed, Gradients, Kind, Layout
from batchgrad_workers.torch.formulas.outer import Outer

Function = Callable[..., Any]


class Linear(Kind):
    """a Wᵀ + b, W (o, i): g_n is Σ_t δ_nt a_ntᵀ, and Σ_t δ_nt of the bias."""

    name = "linear"
    functions: tuple[Function, ...] = (functional.linear,)

    def arguments(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """From `(input, weight, bias=None)`; a weight of one axis has no formulas here."""
        del function
        inputs, weight, bias = _named(("input", "weight", "bias"), args, kwargs)
        if weight.dim() != 2 or inputs.dim() < 2:
            return None
        parameters = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        return Arguments(inputs, parameters)

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """A Wᵀ + b."""
        return functional.linear(arguments.inputs, parameters["weight"], parameters.get("bias"))

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """An Outer of the weight; formed ones of the bias."""
        errors = layout.rows(error, n, 1)
        if role == "bias":
            return Formed(over_positions(errors))
        return Outer(layout.rows(arguments.inputs, n, 1), errors)

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        """The features."""
        return 1


class AddMm(Linear):
    """torch.addmm: b + a W, W (i, o), b (o,)."""

    name = "addmm"
    functions = (torch.addmm, torch.Tensor.addmm)

    def arguments(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """From `(bias, input, weight)` without factors."""
        if kwargs or len(args) != 3 or args[0].dim() != 1:
            return None
        bias, inputs, weight = args
        return Arguments(inputs, {"weight": weight, "bias": bias})

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """B + a W."""
        return torch.addmm(parameters["bias"], arguments.inputs, parameters["weight"])

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """Σ_t a_nt δ_ntᵀ of the weight."""
        if role == "bias":
            return super().gradients(arguments, role, error, layout, n)
        return Outer(layout.rows(error, n, 1), layout.rows(arguments.inputs, n, 1))


MATMUL = (torch.matmul, torch.Tensor.matmul, torch.mm, torch.Tensor.mm, torch.Tensor.__matmul__)


class RightProduct(Kind):
    """a @ W, W (i, o)."""

    name = "matmul"
    functions = MATMUL

    def arguments(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """From `(input, weight)`, a matrix."""
        if kwargs or len(args) != 2 or args[1].dim() != 2 or args[0].dim() < 2:
            return None
        return Arguments(args[0], {"weight": args[1]})

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """A @ W."""
        return torch.matmul(arguments.inputs, parameters["weight"])

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """Σ_t a_nt δ_ntᵀ."""
        return Outer(layout.rows(error, n, 1), layout.rows(arguments.inputs, n, 1))

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        """The features."""
        return 1


class LeftProduct(Kind):
    """W @ a, W (o, i), a (…, i, T)."""

    name = "left_matmul"
    functions = MATMUL

    def arguments(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """From `(weight, input)`, both with two axes or more."""
        if kwargs or len(args) != 2 or args[0].dim() != 2 or args[1].dim() < 3:
            return None
        return Arguments(args[1], {"weight": args[0]})

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """W @ a."""
        return torch.matmul(parameters["weight"], arguments.inputs)

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """Σ_t δ_nt a_ntᵀ of the columns t."""
        inputs = arguments.inputs.transpose(-1, -2)
        return Outer(layout.rows(inputs, n, 1), layout.rows(error.mT, n, 1))

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        """The matrix."""
        return 2


def over_positions(errors: Tensor) -> Tensor:
    """Σ_t of (n, T, o)."""
    return errors[:, 0] if errors.shape[1] == 1 else errors.sum(1)


def _named(names: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """Arguments in the order of `names`, by position or by name."""
    return [args[k] if k < len(args) else kwargs.get(name) for k, name in enumerate(names)]
