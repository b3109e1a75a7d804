"""Operations by element between a parameter and an input, and p.expand(n, …).

Of a parameter of which every example has a copy, g_n is the error at the copy, summed over the axes
along which it was broadcast.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas.base import (
    Arguments,
    Formed,
    Gradients,
    Kind,
    Layout,
    weighted_sum,
)

ADD = (torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__)
ADD_IN_PLACE = (torch.Tensor.add_, torch.Tensor.__iadd__)
SUBTRACT = (torch.sub, torch.subtract, torch.Tensor.sub, torch.Tensor.__sub__)
MULTIPLY = (torch.mul, torch.multiply, torch.Tensor.mul, torch.Tensor.__mul__)
MULTIPLY_IN_PLACE = (torch.Tensor.mul_, torch.Tensor.__imul__)
OTHERS = (
    torch.div, torch.true_divide, torch.Tensor.div, torch.Tensor.__truediv__,
    torch.pow, torch.Tensor.pow, torch.Tensor.__pow__, torch.Tensor.__rpow__,
    torch.maximum, torch.Tensor.maximum, torch.minimum, torch.Tensor.minimum,
    torch.where, torch.Tensor.where, torch.lerp, torch.Tensor.lerp, torch.Tensor.__rsub__,
    torch.Tensor.__rdiv__, torch.Tensor.__rtruediv__, torch.Tensor.__rmul__,
    torch.addcmul, torch.Tensor.addcmul, torch.addcdiv, torch.Tensor.addcdiv,
)  # fmt: skip


class Broadcast(Kind):
    """An operation by element; a parameter's role is its place among the arguments."""

    name = "broadcast"
    functions = (*ADD, *ADD_IN_PLACE, *SUBTRACT, *MULTIPLY, *MULTIPLY_IN_PLACE, *OTHERS)

    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """Without arguments by name, except factors that are numbers."""
        if any(isinstance(each, Tensor) for each in kwargs.values()):
            return None
        tensors = {str(k): each for k, each in enumerate(args) if _number(each)}
        if function in ADD_IN_PLACE or function in MULTIPLY_IN_PLACE:
            tensors.pop("0")
        return Arguments(None, tensors, (function, args, dict(kwargs)))

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """The operation; keeps what a product in place overwrites."""
        function, args, kwargs = arguments.options
        if function in MULTIPLY_IN_PLACE:
            arguments.saved = (args[0].detach().clone(),)
        return function(*_with(args, parameters), **kwargs)

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """δ times what the operation gives to it, summed over the axes of broadcasting."""
        function, args, kwargs = arguments.options
        shape = arguments.parameters[role].shape
        if function in ADD or function in ADD_IN_PLACE:
            factor = kwargs.get("alpha", 1) if role == "1" else 1
            own = error * factor if factor != 1 else error
        elif function in SUBTRACT:
            own = error * -kwargs.get("alpha", 1) if role == "1" else error
        elif function in MULTIPLY_IN_PLACE:
            own = error * arguments.saved[0]
        elif function in MULTIPLY:
            own = error * args[1 - int(role)]
        else:
            own = _by_autograd(function, args, kwargs, role, error)
        return Formed(_unbroadcast(own, shape, layout, n))

    def inputs(self, arguments: Arguments) -> Tensor | None:
        """The tensor beside the parameters, if there is only one, and of floating point numbers."""
        place = self._place(arguments)
        return None if place is None else arguments.options[1][place]

    def with_inputs(self, arguments: Arguments, inputs: Tensor) -> Arguments:
        """The arguments with another tensor in that place."""
        place = self._place(arguments)
        function, args, kwargs = arguments.options
        args = tuple(inputs if k == place else each for k, each in enumerate(args))
        return replace(arguments, options=(function, args, kwargs))

    def mean_inputs(
        self, arguments: Arguments, layout: Layout, n: int, weights: Tensor | None
    ) -> Tensor | None:
        """Σ w_n a_n of a factor; None for a sum, whose gradients need none."""
        inputs = self.inputs(arguments)
        if inputs is None or not self.held(arguments):
            return None
        missing = max(each.dim() for each in arguments.parameters.values()) - inputs.dim()
        own = Layout(layout.axis - missing, layout.strided)
        if own.axis < 0 or inputs.shape[own.axis] % n:
            return None
        return weighted_sum(own.first(inputs, n), weights)

    def _place(self, arguments: Arguments) -> int | None:
        others = [
            k
            for k, each in enumerate(arguments.options[1])
            if isinstance(each, Tensor) and str(k) not in arguments.touched
        ]
        if len(others) != 1 or not arguments.options[1][others[0]].is_floating_point():
            return None
        return others[0]

    def held(self, arguments: Arguments) -> list[Tensor]:
        """All tensors, except those of a sum and of a product in place."""
        function, args, _ = arguments.options
        if function in {*ADD, *ADD_IN_PLACE, *SUBTRACT, *MULTIPLY_IN_PLACE}:
            return []
        return [each for each in args if isinstance(each, Tensor)]

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        """None."""
        return 0


class PReLU(Kind):
    """max(x, 0) + W min(x, 0), with one W or one for each channel."""

    name = "prelu"
    functions = (torch.prelu,)

    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """From `(input, weight)`."""
        return None if kwargs else Arguments(args[0], {"weight": args[1]})

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """The activation."""
        return torch.prelu(arguments.inputs, parameters["weight"])

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """Σ_T δ min(x, 0), by channel."""
        own = layout.rows(error * arguments.inputs.clamp(max=0), n, error.dim() - 1)
        weight = arguments.parameters[role]
        if weight.numel() == 1:
            return Formed(own.flatten(1).sum(1).view(n, *weight.shape))
        return Formed(own.flatten(3).sum((1, 3)) if own.dim() > 3 else own.sum(1))


class Expand(Kind):
    """p.expand(n, …) and p.repeat(n, …), where that repeats no axis longer than one."""

    name = "expand"
    functions = (
        torch.Tensor.expand, torch.Tensor.expand_as, torch.broadcast_to, torch.Tensor.broadcast_to,
        torch.Tensor.repeat,
    )  # fmt: skip

    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """From `(parameter, *sizes)`."""
        if kwargs or not isinstance(args[0], Tensor):
            return None
        if function is torch.Tensor.repeat:
            times = args[1] if len(args) == 2 and not isinstance(args[1], int) else args[1:]
            shape = args[0].shape
            own = list(times)[len(times) - len(shape) :]
            if any(size != 1 and time != 1 for size, time in zip(shape, own, strict=True)):
                return None
        return Arguments(None, {"weight": args[0]}, (function, args[1:]))

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """The copies."""
        function, sizes = arguments.options
        return function(parameters["weight"], *sizes)

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """δ, summed over the axes of broadcasting."""
        return Formed(_unbroadcast(error, arguments.parameters[role].shape, layout, n))

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        """None."""
        return 0


def _number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _with(args: tuple[Any, ...], parameters: dict[str, Tensor]) -> list[Any]:
    return [parameters.get(str(k), each) for k, each in enumerate(args)]


def _by_autograd(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    role: str,
    error: Tensor,
) -> Tensor:
    """The error at a copy of the parameter for each element of the result."""
    constant = [each.detach() if isinstance(each, Tensor) else each for each in args]
    copies = constant[int(role)].expand(error.shape).requires_grad_()
    with torch.enable_grad():
        result = function(*_with(tuple(constant), {role: copies}), **kwargs)
    return torch.autograd.grad(result, copies, error)[0]


def _unbroadcast(own: Tensor, shape: torch.Size, layout: Layout, n: int) -> Tensor:
    """Σ over the axes along which `shape` was broadcast, except the examples': (n, *shape)."""
    missing = own.dim() - len(shape)
    if layout.axis < missing:
        rows = layout.rows(own, n, len(shape))
        rows = rows[:, 0] if rows.shape[1] == 1 else rows.sum(1)
        missing = 0
    else:
        rows = layout.first(own, n)
    summed = [1 + k for k in range(missing)]
    summed += [
        1 + missing + k
        for k, size in enumerate(shape)
        if size == 1 and rows.shape[1 + missing + k] != 1
    ]
    if summed:
        rows = rows.sum(summed, keepdim=True)
    return rows.reshape(n, *shape)
