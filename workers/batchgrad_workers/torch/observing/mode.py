"""The mode that taps the calls of a user's own forward pass, which run as they are."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from batchgrad_workers.torch.dropout.opening import opened
from batchgrad_workers.torch.formulas.base import Arguments, Kind, Layout
from batchgrad_workers.torch.formulas.broadcast import Broadcast
from batchgrad_workers.torch.formulas.normalization import GroupNorm, LayerNorm
from batchgrad_workers.torch.formulas.registry import BY_NAME
from batchgrad_workers.torch.observing.taps import Tap, Taps, Value
from batchgrad_workers.torch.tapping.calls import MADE, OTHER, Call
from batchgrad_workers.torch.tapping.mode import (
    Function,
    Touching,
    called,
    name_of_use,
    tensors,
)
from batchgrad_workers.torch.tapping.recurrent import CELLS, NETWORKS
from batchgrad_workers.torch.tapping.values import is_view


@dataclass
class Entry:
    """What is known of a module's forward pass: how its calls are treated, by name and function.

    `uncovered` are parameters' names in the module, `named` the trainable ones' names by id;
    `by_name`: all of its tensors are given by name; `places`: of the arguments with examples.
    """

    calls: dict[tuple[str, str], Call]
    uncovered: set[str]
    named: dict[int, str]
    by_name: bool
    places: tuple[int, ...] = ()


class Observing(Touching):
    """Let every call run as it is, and tap those that touch trainable parameters."""

    def __init__(self, entry: Entry, trainable: dict[int, Tensor], taps: Taps) -> None:
        super().__init__()
        self.entry, self.taps = entry, taps
        self.ids = {name: key for key, name in entry.named.items()}
        self.parameters = {key: Value(trainable[key], (key,)) for key in entry.named}
        self.values = dict(self.parameters)
        self.uses: dict[str, int] = {}
        self.unknown: set[int] = set()
        """Parameters with calls that the entry does not know."""
        self.opaque: set[int] = set()
        """Parameters with calls that can't be seen into as they are."""

    def _touching(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function is functional.multi_head_attention_forward:
            with self:
                return opened(function)(*args, **kwargs)
        name = called(function)
        if name is None or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        values = self.values
        touched = [values[id(x)] for x in tensors(args, kwargs) if id(x) in values]
        if not touched:
            return function(*args, **kwargs)
        if function in CELLS or function in NETWORKS:  # made of steps they have other bits
            self.opaque |= _keys(touched)
            return function(*args, **kwargs)
        return self._treat(name, function, touched, args, kwargs)

    def _treat(
        self,
        name: str,
        function: Function,
        touched: list[Value],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        place = name_of_use(self.entry.named[touched[0].keys[0]], self.uses)
        call = self.entry.calls.get((place, name))
        if call is None:
            self.unknown |= _keys(touched)
        if call is None or call.kind == OTHER:
            return function(*args, **kwargs)
        if call.kind == MADE:
            return self._made(name, function, touched, args, kwargs)
        kind = BY_NAME[call.kind]
        arguments = kind.arguments(function, args, kwargs)
        values = {} if arguments is None else self._roles(call, arguments)
        if arguments is None or len(values) != len(call.parameters):
            self.unknown |= _keys(touched)
            return function(*args, **kwargs)
        arguments.touched = tuple(call.parameters)
        held = [(each, each._version) for each in kind.held(arguments)]
        if isinstance(kind, Broadcast):
            result = kind.run(arguments, arguments.parameters)  # this very call
        else:
            result = function(*args, **kwargs)
            keep(kind, arguments, result)
        covered = {
            role: tuple(self.ids[each] for each in names) for role, names in call.parameters.items()
        }
        layout, n = Layout(call.axis, call.strided), self.taps.n
        if not n or result.shape[call.axis] % n:
            self.unknown |= _keys(touched)
            return result
        tap = Tap(call, kind, arguments, values, covered, layout, self.parameters, held, n)
        self.taps.add(tap, result)
        return result

    def _roles(self, call: Call, arguments: Arguments) -> dict[str, Value]:
        """The values in the roles of the call; one that is not as it was found is left out."""
        found = {}
        for role, names in call.parameters.items():
            value = self.values.get(id(arguments.parameters.get(role)))
            if value is not None and {self.ids[name] for name in names} <= set(value.keys):
                found[role] = value
        return found

    def _made(
        self,
        name: str,
        function: Function,
        touched: list[Value],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run a call of parameters alone; its results stand for them in later calls."""
        keys = tuple(dict.fromkeys(key for value in touched for key in value.keys))
        random = torch.get_rng_state()
        result = function(*args, **kwargs)
        found = [x for x in tensors((result,), {}) if x.requires_grad and id(x) not in self.values]
        if len(keys) == 1 and all(is_view(x, self.parameters[keys[0]].tensor) for x in found):
            for each in found:
                self.values[id(each)] = Value(each, keys, made=True)
            return result
        if not _changes_arguments(name, kwargs):
            shadows = self._again(function, args, kwargs, random)
            for each, shadow in zip(tensors((result,), {}), tensors((shadows,), {}), strict=True):
                if each.requires_grad and id(each) not in self.values:
                    self.values[id(each)] = Value(each, keys, made=True, shadow=shadow)
        return result

    def _again(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], random: Tensor
    ) -> Any:
        """The same call on leaves that stand for the parameters, with the same random numbers."""
        after = torch.get_rng_state()
        drawn = not torch.equal(random, after)
        if drawn:
            torch.set_rng_state(random)
        try:
            return function(
                *self._leaves(args), **dict(zip(kwargs, self._leaves(kwargs.values()), strict=True))
            )
        finally:
            if drawn:
                torch.set_rng_state(after)

    def _leaves(self, arguments: Any) -> list[Any]:
        found: list[Any] = []
        for each in arguments:
            if isinstance(each, (list, tuple)) and any(isinstance(x, Tensor) for x in each):
                found.append(type(each)(self._leaves(each)))
            elif id(each) in self.values:
                found.append(self._leaf(self.values[id(each)]))
            else:
                found.append(each)
        return found

    def _leaf(self, value: Value) -> Tensor:
        if value.made and value.shadow is None:  # a view
            parameter, view = self.parameters[value.keys[0]], value.tensor
            offset = view.storage_offset() - parameter.tensor.storage_offset()
            value.shadow = parameter.leaf.as_strided(
                view.shape, view.stride(), parameter.leaf.storage_offset() + offset
            )
        return value.leaf


def _keys(values: list[Value]) -> set[int]:
    return {key for value in values for key in value.keys}


def _changes_arguments(name: str, kwargs: dict[str, Any]) -> bool:
    """Whether a second run would change something a second time."""
    in_place = name.endswith("_") and not name.endswith("__")
    in_place = in_place or name == "__setitem__" or name.startswith("__i")
    return in_place or kwargs.get("out") is not None


def keep(kind: Kind, arguments: Arguments, result: Tensor) -> None:
    """What the kind keeps of a call when it runs the call itself; autograd has kept it too."""
    if not isinstance(kind, (LayerNorm, GroupNorm)):
        return
    node: Any = result.grad_fn
    names = ("_saved_result1", "_saved_result2")
    if node is not None and all(hasattr(node, name) for name in names):
        arguments.saved = tuple(getattr(node, name) for name in names)
        return
    with torch.no_grad():
        kind.run(arguments, {role: each.detach() for role, each in arguments.parameters.items()})
