"""Dropout by keys: each example's mask follows from its key and the number of the call alone.

Symbols: n examples, p probability to drop, L S numbers of queries and of keys of an attention.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from batchgrad_workers.arrays import Keys
from batchgrad_workers.nn.kernels.dropout import drop
from batchgrad_workers.randomness import derived
from batchgrad_workers.torch.opening import opened
from batchgrad_workers.torch.refusal import Refused


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
        keys = self.keys
        if keys is None:
            raise ValueError("no keys")
        if torch._C._current_graph_task_id() != -1:  # noqa: SLF001 (no public name)
            raise Refused(
                f"{function} was called in a backward pass, where activation checkpointing repeats "
                "a forward pass, and would draw another mask there: take the dropout out of the "
                "checkpointed part, or do not checkpoint."
            )
        call, n = len(self.draws), len(keys)
        axis = self._axis(function, call, shape)
        own, others = shape[axis] // n, shape[:axis] + shape[axis + 1 :]
        ones = np.ones((n, own * math.prod(others)), np.dtype(_numpy_type(like)))
        mask = np.empty_like(ones)
        drop(ones, derived(keys, call), p, ones.dtype.type(1), mask)
        self.draws.append(Draw(function, shape, axis))
        rows = torch.from_numpy(mask).reshape(shape[axis], *others).movedim(0, axis)
        return rows.contiguous().to(like.device, like.dtype)

    def _axis(self, function: str, call: int, shape: tuple[int, ...]) -> int:
        n = 0 if self.keys is None else len(self.keys)
        if n == 1:
            return 0
        axis = 0
        if self.axes is not None:
            if call >= len(self.axes):
                raise ValueError(
                    f"{function} is dropout call {call}; the preflight saw {len(self.axes)}."
                )
            axis = self.axes[call]
        if axis >= len(shape) or shape[axis] % n:
            raise Refused(
                f"{function} got {list(shape)} for {n} examples: axis {axis} holds neither the "
                "examples nor a multiple of them. Put the examples on the first axis."
            )
        return axis


class Exploring(Drawing):
    """Note the shapes of the masks that dropout would draw, and drop nothing."""

    def __init__(self) -> None:
        super().__init__(np.zeros(1, np.uint64), None)

    def factors(self, function: str, like: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
        """Ones."""
        del p
        self.draws.append(Draw(function, shape, 0))
        return torch.ones(shape, dtype=like.dtype, device=like.device)


def drawing(keys: Keys | None, axes: Sequence[int] | None = None) -> Drawing:
    """A context in which torch's dropout draws each example's mask by its key (n,).

    The mask of an example depends on its key and the number of the dropout call in this context,
    not on its neighbours, its place or the number of threads. Without keys nothing is dropped.
    `axes` gives the axis of the examples for each call, as the preflight found it; it matters for
    several examples only, and without it is 0.

    Raises:
        Refused: inside it, where a mask can't be drawn by keys: dropout in an RNN, or in a part
            that activation checkpointing repeats.
    """
    return Drawing(keys, axes)


def _numpy_type(like: Tensor) -> type:
    return np.float64 if like.dtype == torch.float64 else np.float32


def _silent(mode: Drawing, p: float, train: bool) -> bool:
    """Whether a dropout drops nothing."""
    return not train or p == 0 or mode.keys is None


def _scale(p: float) -> float:
    """What kept numbers are multiplied by; at p = 1 nothing is kept."""
    return 1 / (1 - p) if p < 1 else 0.0


def _features(array: Tensor) -> tuple[int, ...]:
    """The shape of a mask that drops whole channels, the second axis."""
    if array.ndim < 2:
        raise Refused(
            f"Dropout of channels got {list(array.shape)}; expected at least 2 axes: use Dropout."
        )
    return (*array.shape[:2], *(1 for _ in array.shape[2:]))


def _every(array: Tensor) -> tuple[int, ...]:
    return tuple(array.shape)


def _plain(name: str, shape: Callable[[Tensor], tuple[int, ...]], inplace: bool) -> Any:
    """Numbers · mask / (1 - p)."""

    def call(mode: Drawing, input: Tensor, p: float, train: bool) -> Tensor:  # noqa: A002 (torch's)
        if _silent(mode, p, train):
            return input
        factors = mode.factors(name, input, shape(input), p) * _scale(p)
        return input.mul_(factors) if inplace else input * factors

    return call


def _alpha(name: str, shape: Callable[[Tensor], tuple[int, ...]], inplace: bool) -> Any:
    """(a · mask - α (1 - mask)) c + d, which keeps mean and variance (Klambauer et al. 2017)."""
    alpha = 1.7580993408473766

    def call(mode: Drawing, input: Tensor, p: float, train: bool) -> Tensor:  # noqa: A002
        if _silent(mode, p, train):
            return input
        kept = mode.factors(name, input, shape(input), p)
        scale = 1 / math.sqrt((alpha**2 * p + 1) * (1 - p)) if p < 1 else 0.0
        shift = (kept - 1) * (alpha * scale) + alpha * scale * p
        if inplace:
            return input.mul_(kept * scale).add_(shift)
        return input * (kept * scale) + shift

    return call


def _attention(
    mode: Drawing,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention (…, L, width); with dropout, its weights (…, L, S) are formed and dropped."""
    if _silent(mode, dropout_p, train=True):
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(attn_mask.logical_not(), -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    weights = scores.softmax(-1)
    kept = mode.factors("scaled_dot_product_attention", weights, tuple(weights.shape), dropout_p)
    return (weights * (kept * _scale(dropout_p))) @ value


def _recurrent(function: Any) -> Any:
    """An RNN: its own dropout is silenced where nothing is dropped, and else refused."""

    def call(mode: Drawing, *args: Any) -> Any:
        place = 5 if isinstance(args[3], bool) else 6  # after batch_sizes, of a packed sequence
        p, train = args[place], args[place + 1]
        if train and p > 0 and args[place - 1] > 1 and mode.keys is not None:
            name = function.__name__.upper()
            raise Refused(
                f"{name}(dropout={p:g}) draws its masks where they can't follow from an example's "
                f"key: use {name} modules of one layer with nn.Dropout({p:g}) between them."
            )
        return function(*args[:place], 0.0, *args[place + 1 :])

    return call


HANDLED: dict[Any, Any] = {
    torch.dropout: _plain("dropout", _every, inplace=False),
    torch.dropout_: _plain("dropout", _every, inplace=True),
    torch.feature_dropout: _plain("feature_dropout", _features, inplace=False),
    torch.feature_dropout_: _plain("feature_dropout", _features, inplace=True),
    torch.alpha_dropout: _alpha("alpha_dropout", _every, inplace=False),
    torch.alpha_dropout_: _alpha("alpha_dropout", _every, inplace=True),
    torch.feature_alpha_dropout: _alpha("feature_alpha_dropout", _features, inplace=False),
    torch.feature_alpha_dropout_: _alpha("feature_alpha_dropout", _features, inplace=True),
    functional.scaled_dot_product_attention: _attention,
    **{each: _recurrent(each) for each in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)},
}
"""What is called instead of functions that draw."""

OPENED = frozenset(
    {
        functional.dropout,
        functional.dropout1d,
        functional.dropout2d,
        functional.dropout3d,
        functional.alpha_dropout,
        functional.feature_alpha_dropout,
        functional.multi_head_attention_forward,
        torch.autograd.grad,  # activation checkpointing repeats a forward pass in it
        torch.autograd.backward,
        torch.Tensor.backward,
    }
)
"""Python functions that call those of `HANDLED`."""
