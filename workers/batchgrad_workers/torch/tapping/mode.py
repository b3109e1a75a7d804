"""Modes that see every torch call of a forward pass: one cuts and taps, one notes shapes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from batchgrad_workers.torch.dropout.opening import opened
from batchgrad_workers.torch.formulas.base import Arguments, Kind
from batchgrad_workers.torch.formulas.registry import BY_NAME
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Replica
from batchgrad_workers.torch.tapping.calls import MADE, OTHER, Call
from batchgrad_workers.torch.tapping.recurrent import by_steps
from batchgrad_workers.torch.tapping.values import Value

Function = Callable[..., Any]
_TRANSPOSES = ("T", "mT", "H", "mH")
"""Attributes of a tensor that are tensors with gradients."""


def called(function: Any) -> str | None:
    """The name of a call; None: it reads an attribute without gradients, such as a shape."""
    name: str = function.__name__
    if name != "__get__":
        return name
    attribute: str = function.__self__.__name__
    return attribute if attribute in _TRANSPOSES else None


def name_of_use(parameter: str, uses: dict[str, int]) -> str:
    """A name for a use of a parameter: its module's, with a number from its second use on.

    `uses` counts them.
    """
    module = parameter.rpartition(".")[0] or parameter
    uses[module] = number = uses.get(module, 0) + 1
    return module if number == 1 else f"{module}#{number}"


def seen_through(
    function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Any] | None:
    """A call as the calls that it is made of, which have formulas; None: it is one itself."""
    if function is functional.multi_head_attention_forward:
        return lambda: opened(function)(*args, **kwargs)
    return None if kwargs else by_steps(function, args)


@dataclass(slots=True)
class Tap:
    """A call whose parameters were cut: its arguments, and where its error arrives."""

    call: Call
    kind: Kind
    arguments: Arguments
    values: dict[str, Value]
    edge: GradientEdge
    shape: torch.Size
    held: list[tuple[Tensor, int]]
    """Tensors that the formulas need, with their versions."""

    def check(self) -> None:
        """Refuse an input that was changed in place after the call, as autograd does.

        Raises:
            RuntimeError: The module would fail in an ordinary backward pass too.
        """
        if any(tensor._version != version for tensor, version in self.held):
            raise RuntimeError(
                f"The input of {self.call.name} ({self.call.function}) was changed in place after "
                "the call, and its gradient needs the numbers before; use an operation that makes "
                "a new tensor."
            )


class Touching(TorchFunctionMode, ABC):  # type: ignore[misc]
    """Let calls run as they are, but those that touch one of `values`, which has tensors by id."""

    values: dict[int, Any]

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch in place of `function`."""
        values = self.values
        for arg in args:
            if id(arg) in values or (
                arg.__class__ in {list, tuple} and any(id(each) in values for each in arg)
            ):
                break
        else:
            if not kwargs:
                return function(*args)
            attention = function is functional.multi_head_attention_forward
            if not attention and not any(id(each) in values for each in kwargs.values()):
                return function(*args, **kwargs)
        return self._touching(function, args, kwargs or {})

    @abstractmethod
    def _touching(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a call that touches a value, or attention, whose parts may touch some."""


class Tapping(Touching):
    """Run the calls that touch trainable parameters as a Trace says, and keep their taps.

    It holds tensors of one forward pass; nothing holds it, so that they go when it goes.
    """

    def __init__(self, replica: Replica, calls: tuple[Call, ...]) -> None:
        super().__init__()
        self.calls = calls
        self.values = {
            id(parameter): Value(parameter, (name,))
            for name, parameter in replica.trainable.items()
        }
        self.taps: list[Tap] = []
        self.place = 0

    def _touching(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        parts = seen_through(function, args, kwargs)
        if parts is not None:
            with self:
                return parts()
        name = called(function)
        if name is None or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        return self.treat(name, function, args, kwargs)

    def treat(
        self, name: str, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a call that touches parameters, as the next of the trace's calls."""
        if self.place == len(self.calls):
            raise OtherCalls(f"{name} touches a parameter after the last call of the trace.")
        call = self.calls[self.place]
        self.place += 1
        if call.function != name:
            raise OtherCalls(f"{name} touches a parameter where {call.function} did in the trace.")
        if call.kind == OTHER:
            return function(*args, **kwargs)
        if call.kind == MADE:
            return self.made(function, args, kwargs)
        kind = BY_NAME[call.kind]
        arguments = kind.arguments(function, args, kwargs)
        if arguments is None:
            raise OtherCalls(
                f"{call.name} ({name}) has arguments of another form than in the trace."
            )
        return self.tap(call, kind, arguments)

    def made(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a call of parameters alone; its results stand for them."""
        touched = [
            self.values[id(each)] for each in tensors(args, kwargs) if id(each) in self.values
        ]
        names = tuple(dict.fromkeys(name for value in touched for name in value.names))
        result = function(*args, **kwargs)
        for each in tensors((result,), {}):
            if each.requires_grad and id(each) not in self.values:
                self.values[id(each)] = Value(each, names, made=True)
        return result

    def tap(self, call: Call, kind: Kind, arguments: Arguments) -> Tensor:
        """Run a call on the twins of its parameters, and keep where its error arrives."""
        values, parameters = self.values, dict(arguments.parameters)
        touched = {}
        for role in call.parameters:
            value = values.get(id(parameters.get(role)))
            if value is None:
                raise OtherCalls(f"{call.name} ({call.function}) has no parameter as its {role}.")
            if not set(call.parameters[role]) <= set(value.names):
                raise OtherCalls(
                    f"{call.name} ({call.function}) has {', '.join(value.names)} as its {role}; in "
                    f"the trace it had {', '.join(call.parameters[role])}."
                )
            touched[role] = value
            parameters[role] = value.twin
        arguments.touched = tuple(call.parameters)
        held = [(each, each._version) for each in kind.held(arguments)]
        result = kind.run(arguments, parameters)
        edge = get_gradient_edge(result)
        self.taps.append(Tap(call, kind, arguments, touched, edge, result.shape, held))
        return result


def tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors among arguments, also in lists and tuples."""
    for arg in (*args, *kwargs.values()):
        if isinstance(arg, Tensor):
            yield arg
        elif isinstance(arg, (list, tuple)):
            yield from tensors(tuple(arg), {})


class Shapes(TorchFunctionMode):  # type: ignore[misc]
    """Note the shapes of all results of a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[torch.Size]]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch in place of `function`."""
        parts = seen_through(function, args, kwargs or {})
        if parts is not None:
            with self:
                return parts()
        result = function(*args, **kwargs or {})
        name = called(function)
        if name is not None:
            self.found.append((name, [each.shape for each in tensors((result,), {})]))
        return result
