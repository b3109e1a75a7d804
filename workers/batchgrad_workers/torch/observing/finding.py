"""The calls of a user's module and where its examples lie, found with a copy on a few examples."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from batchgrad.errors import InvalidArgument
from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.observing.mode import Entry
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.tapping.calls import Call
from batchgrad_workers.torch.tapping.tracing import PERTURBATION, calls_of

ROWS = 4
"""Examples on which the copy runs."""


def number_of_examples(arguments: Any, axis: int) -> int | None:
    """The size along `axis` of the first tensor among a module's arguments that has one."""
    for leaf in _pytree.tree_leaves(arguments):
        if isinstance(leaf, Tensor) and leaf.dim() > axis:
            return int(leaf.shape[axis])
    return None


def found(
    module: nn.Module, named: Mapping[int, str], arguments: tuple[Any, Any], n: int, axis: int
) -> Entry:
    """How the calls of `module` are treated, from its positional and named arguments.

    The copy and all random generators are left as they were. Examples lie along `axis` of the
    arguments and results that have n places there.

    Raises:
        InvalidArgument: its results mix the examples, or it does not run on some of them alone.
    """
    with random_numbers_kept(module):
        replica, batch = _probe(module, arguments, n, axis)
        try:
            calls, uncovered = calls_of(replica, batch)
        except OtherCalls as error:
            raise InvalidArgument(
                f"{_name(module)} makes other calls for another number of examples, so the parts "
                f"of single examples can't be told: {error}"
            ) from error
        if n > 1:
            _check_mixing(replica, batch)
    by_key: dict[tuple[str, str], Call] = {(call.name, call.function): call for call in calls}
    by_name = number_of_examples(arguments[0], axis) is None
    places = tuple(int(k) for k in batch.arrays)
    return Entry(by_key, set(uncovered), dict(named), by_name, places)


def _probe(module: nn.Module, arguments: Any, n: int, axis: int) -> tuple[Replica, Batch]:
    """A copy of the module near θ with a few rows of its arguments."""
    leaves, spec = _pytree.tree_flatten(arguments)
    places = [
        k
        for k, leaf in enumerate(leaves)
        if isinstance(leaf, Tensor) and leaf.dim() > axis and leaf.shape[axis] == n
    ]
    dtype = next(each.dtype for each in module.parameters() if each.dtype.is_floating_point)
    failure: Exception | None = None
    for chosen in dict.fromkeys((tuple(places), tuple(places[:1]))):
        task = Task(module, _Outputs(leaves, spec, chosen, axis), _losses)
        arrays = {str(k): _rows(leaves[k].detach().movedim(axis, 0)) for k in chosen}
        size = len(next(iter(arrays.values())))
        try:
            replica = _Copy(task, dtype)
            _move(replica)
            batch = Batch(arrays, torch.ones(size))
            with torch.no_grad():
                replica.losses(batch)
        except Exception as error:  # noqa: BLE001 - raised below, if no choice of arguments runs
            failure = error
        else:
            return replica, batch
    raise InvalidArgument(
        f"{_name(module)} was called with {n} examples along axis {axis}, and a copy "
        f"does not run on {ROWS} of them: {failure} Its arguments that hold examples must be "
        "tensors with the examples along one axis: observe(module, axis=…)."
    ) from failure


class _Copy(Replica):
    """A replica whose dropout draws as in the user's loop, so that it makes the same calls."""

    def outputs(self, batch: Batch) -> Tensor:
        return self.task.outputs(self.module, batch.arrays)

    def losses(self, batch: Batch) -> Tensor:
        return self.task.losses(self.outputs(batch), batch.arrays)


class _Outputs:
    """The module's results for rows of its arguments, in place of those of the user's call."""

    def __init__(self, leaves: list[Any], spec: Any, places: tuple[int, ...], axis: int) -> None:
        self.leaves, self.spec, self.places, self.axis = leaves, spec, places, axis

    def __call__(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """The numbers of all results with a row for each example, (n, numbers)."""
        leaves = [x.detach() if isinstance(x, Tensor) else x for x in self.leaves]
        for k in self.places:
            leaves[k] = batch[str(k)].movedim(0, self.axis)
        n = len(batch[str(self.places[0])])
        args, kwargs = _pytree.tree_unflatten(leaves, self.spec)
        rows = []
        for leaf in _pytree.tree_leaves(module(*args, **kwargs)):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                axes = [axis for axis, size in enumerate(leaf.shape) if size == n]
                if axes:
                    first = leaf.movedim(self.axis if self.axis in axes else axes[0], 0)
                    rows.append(first.flatten(1) if first.dim() > 1 else first[:, None])
        if not rows:
            raise ValueError(f"it returns no tensor of numbers with an axis of its {n} examples.")
        return torch.cat([each.to(rows[0].dtype) for each in rows], 1)


def _losses(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """A loss of each row that depends on all of its numbers."""
    del batch
    outputs = outputs.float() if outputs.element_size() < 4 else outputs
    factors = torch.linspace(0.5, 1.5, outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
    return (outputs * factors).sum(1)


def _rows(x: Tensor) -> Tensor:
    """The first ROWS, in memory of their own; of one row two."""
    return (x[:ROWS] if len(x) > 1 else torch.cat([x, x])).clone()


def _move(replica: Replica) -> None:
    """Move the copy's parameters a little: zeros would hide where the examples lie."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in replica.trainable.values():
            noise = torch.rand(each.shape, generator=generator).to(each.device, each.dtype)
            each.add_(PERTURBATION * (noise * 2 - 1) * (1 + each.abs()))


def _check_mixing(replica: Replica, batch: Batch) -> None:
    """Refuse a module in which the result of row 0 changes when the others do."""
    seen: list[tuple[str, Tensor]] = []

    def note(name: str, result: Any) -> None:
        seen.extend(
            (name, leaf[0].detach().clone())
            for leaf in _pytree.tree_leaves(result)
            if isinstance(leaf, Tensor) and leaf.dim() and leaf.shape[0] == len(batch)
        )

    for name, part in replica.module.named_modules():
        part.register_forward_hook(lambda _, __, result, name=name: note(name, result))
    others = [0] + [1] * (len(batch) - 1)
    changed = Batch({k: x[others] for k, x in batch.arrays.items()}, batch.weights)
    rows = []
    with torch.no_grad():
        for each in (batch, changed):
            state = deepcopy(replica.module.state_dict())
            _seed()
            rows.append(replica.outputs(each)[0])
            replica.module.load_state_dict(state)
    if _same(*rows):
        return
    half = len(seen) // 2
    pairs = zip(seen[:half], seen[half:], strict=False)
    name = next((name for (name, own), (_, other) in pairs if not _same(own, other)), "")
    part = replica.module.get_submodule(name)
    raise InvalidArgument(
        f"{name or 'The module'} ({_name(part)}) mixes the examples of a batch, so single examples "
        "have no gradients: use a part that treats each example alone, as GroupNorm in place of "
        "BatchNorm."
    )


def _seed() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - a user's own
    torch.default_generator.manual_seed(1)


def _same(own: Tensor, other: Tensor) -> bool:
    if own.shape != other.shape:
        return False
    precision = torch.finfo(own.dtype).eps ** 0.5 if own.is_floating_point() else 0.0
    return torch.allclose(own, other, precision, precision, equal_nan=True)


@contextmanager
def random_numbers_kept(module: nn.Module) -> Iterator[None]:
    """Inside, random numbers may be drawn; after it, all generators go on as if none had been."""
    devices = {each.device.index for each in module.parameters() if each.device.type == "cuda"}
    own, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 - a user's own
    with torch.random.fork_rng(sorted(devices)):
        try:
            yield
        finally:
            random.setstate(own)
            np.random.set_state(numpys)  # noqa: NPY002


def _name(module: nn.Module) -> str:
    return type(module).__name__
