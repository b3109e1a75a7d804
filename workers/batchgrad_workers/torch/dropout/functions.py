"""Replacements of torch's functions that draw random numbers: the same, with masks by keys.

Symbols: p probability to drop, L S numbers of queries and of keys of an attention.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from batchgrad_workers.arrays import Keys
from batchgrad_workers.torch.refusal import Refused


class Mode(Protocol):
    """What draws."""

    keys: Keys | None

    def factors(self, function: str, like: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
        """Numbers of `shape`, 0 with probability p and else 1."""

    def uniforms(self, function: str, like: Tensor) -> Tensor:
        """Numbers from 0 to below 1, in the shape of `like`."""


def _silent(mode: Mode, p: float, train: bool) -> bool:
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

    def call(mode: Mode, input: Tensor, p: float, train: bool) -> Tensor:  # noqa: A002 (torch's)
        if _silent(mode, p, train):
            return input
        factors = mode.factors(name, input, shape(input), p) * _scale(p)
        return input.mul_(factors) if inplace else input * factors

    return call


def _alpha(name: str, shape: Callable[[Tensor], tuple[int, ...]], inplace: bool) -> Any:
    """(a · mask - α (1 - mask)) c + d, which keeps mean and variance (Klambauer et al. 2017)."""
    alpha = 1.7580993408473766

    def call(mode: Mode, input: Tensor, p: float, train: bool) -> Tensor:  # noqa: A002
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
    mode: Mode,
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

    def call(mode: Mode, *args: Any) -> Any:
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


def _rand(mode: Mode, *size: Any, **options: Any) -> Tensor:
    """Uniform numbers, from which stochastic depth makes its masks."""
    if mode.keys is None or options.get("generator") is not None:
        return torch.rand(*size, **options)
    return mode.uniforms("rand", torch.empty(*size, **options))


def _bernoulli(mode: Mode, input: Tensor, p: Any = 0.5, **options: Any) -> Tensor:  # noqa: A002
    """Fill with 1 with probability p, else 0, as stochastic depth does."""
    if mode.keys is None or isinstance(p, Tensor) or options.get("generator") is not None:
        return input.bernoulli_(p, **options)
    return input.copy_(mode.factors("bernoulli_", input, tuple(input.shape), 1 - p))


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
    torch.rand: _rand,
    Tensor.bernoulli_: _bernoulli,
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
