"""Taps of a user's own forward and backward passes, and the per-example norms that they give.

Nothing of the passes changes: errors δ are read where they arrive at a call, by a hook that returns
nothing.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas.base import Arguments, Gradients, Kind, Layout
from batchgrad_workers.torch.formulas.joined import joined
from batchgrad_workers.torch.observing.before import Before, Total, norm_of
from batchgrad_workers.torch.tapping.calls import Call
from batchgrad_workers.torch.tapping.values import pulled

HALF = (torch.float16, torch.bfloat16)
SHARE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Of Σ‖g_n‖: how far Σ g_n of the formulas may be from what autograd added; half precision: 0.1."""


@dataclass(slots=True)
class Value:
    """A parameter, or a tensor made of parameters alone; `keys` are the parameters' ids.

    `shadow` is a leaf with the parameter's numbers, or the same tensor made of such leaves: the
    graph of the user's tensor ends with the backward pass. None: a view of the parameter.
    """

    tensor: Tensor
    keys: tuple[int, ...]
    made: bool = False
    shadow: Tensor | None = None

    @property
    def leaf(self) -> Tensor:
        """What stands for a parameter where tensors are made of it."""
        if self.shadow is None:
            self.shadow = self.tensor.detach().requires_grad_()
        return self.shadow


@dataclass(slots=True, weakref_slot=True)
class Tap:
    """A call that touches parameters, by role, and the error that arrived at its result."""

    call: Call
    kind: Kind
    arguments: Arguments
    values: dict[str, Value]
    covered: dict[str, tuple[int, ...]]
    layout: Layout
    parameters: dict[int, Value]
    """All parameters of the call's forward pass, by id."""
    held: list[tuple[Tensor, int]]
    n: int
    """Examples of the forward pass."""
    error: Tensor | None = None


@dataclass(slots=True, eq=False)
class Group:
    """Taps that one backward pass reached, and ‖Σ of an example's contributions‖² (n,)."""

    taps: list[Tap] = field(default_factory=list)
    n: int = 0
    squares: Tensor | None = None


class Shortcut(Protocol):
    """What is computed of all taps beside norms."""

    def forget(self) -> None:
        """A forward pass starts, and the taps of earlier ones are let go."""

    def measure(self, taps: "Taps", number: int) -> None:
        """A backward pass is over; `number` is its group's."""


class Taps:
    """All taps of one step."""

    def __init__(
        self, trainable: dict[int, Tensor], check: bool, shortcut: Shortcut | None
    ) -> None:
        """Of `trainable` parameters by id; `check` that they account for all of each gradient."""
        self.trainable, self.check, self.shortcut = trainable, check, shortcut
        self.n: int | None = None
        """Examples of the present forward pass."""
        self.taps: list[Tap] = []
        self.groups: list[Group] = []
        self.before = Before(trainable)
        self.uncovered: set[int] = set()
        """Parameters whose gradients have parts that no tap saw."""
        self.failure: str | None = None
        self.gradient_norm = 0.0
        self.scale = 1.0
        self.scaler: Any = None
        self._running = False
        self._fresh: list[Tap] = []

    def start(self) -> None:
        """A forward pass starts: what an earlier backward pass has used is let go."""
        if self.groups:
            for group in self.groups:
                group.taps.clear()
            self.taps.clear()
            if self.shortcut is not None:
                self.shortcut.forget()

    def add(self, tap: Tap, result: Tensor) -> None:
        """Wait for the error of a call's result."""
        node = result.grad_fn
        if node is None:
            return
        self.taps.append(tap)
        node.register_prehook(partial(_receive, ref(self), ref(tap), result.output_nr))

    def receive(self, tap: Tap | None, error: Tensor) -> None:
        """An error arrives, inside a backward pass."""
        if torch.is_grad_enabled():
            self.failure = (
                "a backward pass with create_graph=True has gradients of gradients, which have no "
                "formulas here"
            )
            return
        if tap is None:
            self.failure = (
                "a backward pass came to a forward pass before the last one a second time"
            )
            return
        if not self._running:
            self._running = True
            engine: Any = torch.autograd.Variable
            engine._execution_engine.queue_callback(self._end)  # noqa: SLF001 - as FSDP does
        for keys in tap.covered.values():
            for key in keys:
                self.before.keep(key)
        tap.error = error if tap.error is None else tap.error + error
        self._fresh.append(tap)

    def _end(self) -> None:
        """The backward pass is over: compute, while parameters still have their values."""
        self._running = False
        fresh, self._fresh = self._fresh, []
        group = self._group(fresh)
        sizes = {tap.n for tap in group.taps}
        if len(sizes) > 1:
            self.failure = f"one backward pass reached forward passes of {sorted(sizes)} examples"
        group.n = sizes.pop()
        if self.failure is None:
            if self.scaler is not None:
                self.scale = float(self.scaler.get_scale())
            with torch.no_grad():
                self._compute(group)
                if self.shortcut is not None and self.failure is None:
                    self.shortcut.measure(self, self.groups.index(group))

    def _group(self, fresh: list[Tap]) -> Group:
        """The group of these taps; one that a backward pass reached before has its taps too."""
        known = {id(tap): group for group in self.groups for tap in group.taps}
        found = next((known[id(tap)] for tap in fresh if id(tap) in known), None)
        if found is None:
            found = Group()
            self.groups.append(found)
        unique = {id(tap): tap for tap in fresh}
        found.taps += [tap for key, tap in unique.items() if key not in known]
        return found

    def _compute(self, group: Group) -> None:
        if any(t._version != version for tap in group.taps for t, version in tap.held):
            self.failure = "an input was changed in place after its call"
            return
        wholes = {key: joined(uses) for key, uses in self._uses(group).items()}
        squares = {key: whole.squared_norms() for key, whole in wholes.items()}
        if self.check:
            self._check(wholes, squares, self.groups.index(group))
        kept = [own for key, own in squares.items() if key not in self.uncovered]
        group.squares = torch.stack(kept).sum(0) if kept else None
        keys = [key for key in self.before.keys if key not in self.uncovered]
        self.gradient_norm = norm_of([self.before.added(key) for key in keys])

    def _uses(self, group: Group) -> dict[int, list[Gradients]]:
        """The uses of each parameter; those of a tensor made of parameters are joined first."""
        uses: dict[int, list[Gradients]] = {}
        made: dict[int, tuple[Tap, Value, tuple[int, ...], list[Gradients]]] = {}
        for tap in group.taps:
            if tap.error is None:
                continue
            error, inputs = _wide(tap.error), tap.arguments.inputs
            if inputs is not None:
                tap.arguments.inputs = _wide(inputs.detach())
            for role, keys in tap.covered.items():
                value = tap.values[role]
                own = tap.kind.gradients(tap.arguments, role, error, tap.layout, tap.n)
                if value.made:
                    made.setdefault(id(value), (tap, value, keys, []))[3].append(own)
                else:
                    uses.setdefault(keys[0], []).append(own)
        for tap, value, keys, own_uses in made.values():
            inner = joined(own_uses)
            for key in keys:
                parameter = tap.parameters[key]
                if value.shadow is None:
                    own = pulled(inner, value.tensor, parameter.tensor)
                else:
                    own = pulled(inner, value.shadow, parameter.leaf)
                uses.setdefault(key, []).append(own)
        return uses

    def _check(self, wholes: dict[int, Gradients], squares: dict[int, Tensor], group: int) -> None:
        """Leave out parameters whose Σ g_n is not what this step's autograd has added."""
        for key, whole in wholes.items():
            own = Total(whole.sums(None), float(squares[key].sqrt().sum()))
            total = self.before.count(key, group, own)
            distance = float((self.before.added(key) - total.gradient).double().norm())
            if not distance <= SHARE.get(total.gradient.dtype, 0.1) * self._slack() * total.bound:
                self.uncovered.add(key)
        self.uncovered |= self.before.reached() - set(wholes) - set(self.before.keys)

    def _slack(self) -> float:
        """Errors that were rounded to half precision are far from autograd's sums."""
        halves = any(tap.error is not None and tap.error.dtype in HALF for tap in self.taps)
        return 100.0 if halves else 1.0


def in_backward() -> bool:
    """Whether this thread is inside a backward pass."""
    return bool(torch._C._current_graph_task_id() != -1)  # noqa: SLF001 - no public name


def _wide(numbers: Tensor) -> Tensor:
    """Half precision as float32."""
    return numbers.float() if numbers.dtype in HALF else numbers


def _receive(
    taps: "ref[Taps]", tap: "ref[Tap]", place: int, errors: tuple[Tensor | None, ...]
) -> None:
    own, error = taps(), errors[place]
    if own is not None and error is not None:
        own.receive(tap(), error)
