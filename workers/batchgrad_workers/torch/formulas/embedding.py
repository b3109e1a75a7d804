"""Lookups of rows of a table: F.embedding, table[ids], index_select."""

from collections.abc import Callable, Mapping
from inspect import signature
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from batchgrad_workers.torch.formulas.base import Arguments, Formed, Gradients, Kind, Layout
from batchgrad_workers.torch.formulas.scatter import Scatter

MOST_MEAN_NUMBERS = 2**20
"""The mean input of a lookup is the share of each row at each position, T·V numbers; above this
there is none."""


class Embedding(Kind):
    """W[ids], W (V, …), ids (…) of integers; padding_idx gives no gradient."""

    name = "embedding"
    functions = (functional.embedding, torch.Tensor.__getitem__, torch.index_select)

    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """Without max_norm, which changes the table, and without scale_grad_by_freq."""
        if function is functional.embedding:
            return _embedding(*args, **kwargs)
        table, *rest = args
        if function is torch.index_select:
            if kwargs or len(rest) != 2 or rest[0] != 0:
                return None
            ids = rest[1]
        else:
            ids = rest[0]
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or table.dim() == 0:
            return None
        if function is not torch.index_select:
            ids = torch.where(ids < 0, ids + table.shape[0], ids)
        return Arguments(ids, {"weight": table}, (None,))

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """W[ids]."""
        if parameters["weight"].dim() == 2:
            padding = arguments.options[0]
            return functional.embedding(arguments.inputs, parameters["weight"], padding)
        return parameters["weight"][arguments.inputs]

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """A Scatter."""
        shape = tuple(arguments.parameters[role].shape)
        errors = layout.rows(error, n, len(shape) - 1).reshape(n, -1, prod(shape[1:]))
        return Scatter(layout.rows(arguments.inputs, n, 0), errors, shape, arguments.options[0])

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        """The axes of a row."""
        return arguments.parameters["weight"].dim() - 1

    def mean_inputs(
        self, arguments: Arguments, layout: Layout, n: int, weights: Tensor | None
    ) -> Tensor | None:
        """Σ w_n of the lookups of each row at each position, (*positions, V)."""
        table = arguments.parameters["weight"]
        ids = layout.first(arguments.inputs, n)
        positions = ids[0].numel()
        if positions * len(table) > MOST_MEAN_NUMBERS:
            return None
        shares = table.new_ones(n) if weights is None else weights
        found = table.new_zeros(positions, len(table))
        places = torch.arange(positions, device=ids.device) * len(table) + ids.reshape(n, -1)
        found.view(-1).index_add_(
            0, places.reshape(-1), shares[:, None].expand_as(places).reshape(-1)
        )
        return found.view(*ids.shape[1:], len(table))

    def of_means(self) -> Kind:
        return MeanLookup()


class MeanLookup(Kind):
    """shares @ W, shares (…, V): a mean of lookups."""

    name = "mean_lookup"
    functions = ()

    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """None: no call of torch is a mean of lookups."""
        del function, args, kwargs
        return None

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """The mean of the looked up rows."""
        return torch.tensordot(arguments.inputs, parameters["weight"], 1)

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """Σ_t shares_nt δ_nt, without the row of padding_idx."""
        shape, padding = arguments.parameters[role].shape, arguments.options[0]
        shares = layout.rows(arguments.inputs, n, 1)
        rows = shares.mT @ error.reshape(n, shares.shape[1], -1)
        if padding is not None:
            rows[:, padding] = 0
        return Formed(rows.view(n, *shape))


class EmbeddingBag(Kind):
    """Σ_t s_t W[id_t] of bags of equal length, (n, T); s_t is 1, a weight, or 1/T."""

    name = "embedding_bag"
    functions = (functional.embedding_bag,)

    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """Sums and means of `(ids, weight, …)`, without offsets."""
        names = tuple(signature(functional.embedding_bag).parameters)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        ids, table = given["input"], given["weight"]
        known = given.get("mode", "mean") in {"sum", "mean"} and ids.dim() == 2
        if not known or ids.dtype != torch.int64 or given.get("max_norm") is not None:
            return None
        if given.get("scale_grad_by_freq"):
            return None
        return Arguments(ids, {"weight": table}, (given,))

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """The sums or means."""
        given = arguments.options[0]
        return functional.embedding_bag(**{**given, "weight": parameters["weight"]})

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """A Scatter of δ at each position."""
        given, ids = arguments.options[0], arguments.inputs
        padding, shares = given.get("padding_idx"), given.get("per_sample_weights")
        if padding is not None and padding < 0:
            padding += len(given["weight"])
        errors = error[:, None].expand(-1, ids.shape[1], -1)
        if shares is not None:
            errors = errors * shares[..., None]
        if given.get("mode", "mean") == "mean":
            counted = torch.ones_like(ids) if padding is None else (ids != padding).long()
            errors = errors / counted.sum(1).clamp(min=1)[:, None, None]
        shape = tuple(given["weight"].shape)
        rows = layout.rows(errors, n, 1), layout.rows(ids, n, 0)
        return Scatter(rows[1], rows[0], shape, padding)

    def mean_inputs(
        self, arguments: Arguments, layout: Layout, n: int, weights: Tensor | None
    ) -> Tensor | None:
        """None: a bag of mean rows is no input of the call."""
        return None


def _embedding(
    ids: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Arguments | None:
    """The arguments of F.embedding."""
    del norm_type, sparse
    if max_norm is not None or scale_grad_by_freq or ids.dtype != torch.int64:
        return None
    if padding_idx is not None and padding_idx < 0:
        padding_idx += len(weight)
    return Arguments(ids, {"weight": weight}, (padding_idx,))
