"""Draws by keys: each example's mask follows from its key and the number of the call alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from batchgrad_workers.arrays import Array, Keys
from batchgrad_workers.randomness import STEP, derived, mixed
from batchgrad_workers.torch.dropout.functions import HANDLED, OPENED
from batchgrad_workers.torch.dropout.opening import opened
from batchgrad_workers.torch.refusal import OtherCalls, Refused

BITS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}
"""Of the mantissa, so that no number below 1 is rounded to 1."""


@dataclass(frozen=True)
class Draw:
    """A mask that was drawn: by which function, in which shape, and the axis of the examples."""

    function: str
    shape: tuple[int, ...]
    axis: int


class Drawing(TorchFunctionMode):  # type: ignore[misc]  # torch is not there for mypy
    """Dropout inside this context draws by `keys`; see `drawing`."""

    def __init__(self, keys: Keys | None, axes: Sequence[int] | None) -> None:
        super().__init__()
        self.keys = keys
        self.axes = axes
        self.draws: list[Draw] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Open functions that hold a dropout, draw where one is, pass the others on."""
        given = kwargs or {}
        if func in OPENED:
            with self:
                return opened(func)(*args, **given)
        known = HANDLED.get(func)
        return func(*args, **given) if known is None else known(self, *args, **given)

    def factors(self, function: str, like: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
        """Numbers of `shape`, 0 with probability p and else 1, of the dtype and device of `like`.

        They count as one call; examples lie along the axis that `axes` gives for it. If that axis
        has a multiple of n rows (examples times heads), each example has a block of them.
        """
        from batchgrad_workers.nn.kernels.dropout import drop  # noqa: PLC0415 (it imports numba)

        keys, axis = self._next(function, shape)
        kind = np.float64 if like.dtype == torch.float64 else np.float32
        ones = np.ones((len(keys), math.prod(shape) // len(keys)), kind)
        mask = np.empty_like(ones)
        drop(ones, keys, p, ones.dtype.type(1), mask)
        return _laid(mask, shape, axis, like)

    def uniforms(self, function: str, like: Tensor) -> Tensor:
        """Numbers from 0 to below 1 in the shape of `like`; a call as those of `factors`."""
        shape = tuple(like.shape)
        keys, axis = self._next(function, shape)
        counters = np.arange(1, math.prod(shape) // len(keys) + 1, dtype=np.uint64) * STEP
        bits = BITS[like.dtype]
        whole = mixed(keys[:, None] + counters) >> np.uint64(64 - bits)
        return _laid(whole * 2.0**-bits, shape, axis, like)

    def _next(self, function: str, shape: tuple[int, ...]) -> tuple[Keys, int]:
        """Keys (n,) of the next call, and the axis of the examples in its mask."""
        if self.keys is None:
            raise ValueError(f"{function} has no keys to draw by.")
        if torch._C._current_graph_task_id() != -1:  # noqa: SLF001 (no public name)
            raise Refused(
                f"{function} was called in a backward pass, where activation checkpointing repeats "
                "a forward pass, and would draw another mask there: take the dropout out of the "
                "checkpointed part, or do not checkpoint."
            )
        call = len(self.draws)
        axis = self._axis(function, call, shape, len(self.keys))
        self.draws.append(Draw(function, shape, axis))
        return derived(self.keys, call), axis

    def _axis(self, function: str, call: int, shape: tuple[int, ...], n: int) -> int:
        if n == 1 or self.axes is None:
            axis = 0
        elif call < len(self.axes):
            axis = self.axes[call]
        else:
            raise OtherCalls(f"{function} draws mask {call}; the preflight saw {len(self.axes)}.")
        if n > 1 and (axis >= len(shape) or shape[axis] % n):
            raise Refused(
                f"{function} got {list(shape)} for {n} examples: axis {axis} holds neither the "
                "examples nor a multiple of them. Put the examples on the first axis."
            )
        return axis


def _laid(numbers: Array, shape: tuple[int, ...], axis: int, like: Tensor) -> Tensor:
    """Numbers (n, …) of each example as a tensor of `shape`, with the examples along `axis`."""
    rows = torch.from_numpy(numbers)
    if shape:
        others = shape[:axis] + shape[axis + 1 :]
        rows = rows.reshape(shape[axis], *others).movedim(0, axis).contiguous()
    return rows.reshape(shape).to(like.device, like.dtype)


class Exploring(Drawing):
    """Note the shapes of the masks that dropout would draw, and drop nothing."""

    def __init__(self) -> None:
        super().__init__(np.zeros(1, np.uint64), None)

    def factors(self, function: str, like: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
        """Ones."""
        del p
        self.draws.append(Draw(function, shape, 0))
        return torch.ones(shape, dtype=like.dtype, device=like.device)

    def uniforms(self, function: str, like: Tensor) -> Tensor:
        """Halves."""
        return self.factors(function, like, tuple(like.shape), 0) / 2


def drawing(keys: Keys | None, axes: Sequence[int] | None = None) -> Drawing:
    """A context in which torch's dropout draws each example's mask by its key (n,).

    So do `torch.rand` and `Tensor.bernoulli_`, from which stochastic depth is made. The mask of an
    example depends on its key and the number of the call in this context, not on its neighbours,
    its place or the number of threads. Without keys nothing is dropped. `axes` gives the axis of
    the examples for each call, as the preflight found it; it matters for several examples only,
    and without it is 0.

    Raises:
        Refused: inside it, where a mask can't be drawn by keys: dropout in an RNN, or in a part
            that activation checkpointing repeats.
        OtherCalls: inside it, at a call for which `axes` has no axis.
    """
    return Drawing(keys, axes)
