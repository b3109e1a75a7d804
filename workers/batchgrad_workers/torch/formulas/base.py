"""The protocols of a kind of torch call, and of the per-example gradients that it gives.

n examples of a microbatch, w_n their weights, g_n the gradient of example n, a the input of a call,
δ the error at its output, of the unweighted Σℓ_n. T: whatever positions an example has.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas import rounding

CHUNK_BYTES = 2**21
"""Of g_n that are formed at a time: they are read again at once, and stay in the cache."""

LEAST = 1e12
"""Squares below this many times the least normal number have lost digits."""

BLOCK = 1024
"""Numbers whose squares are summed in float32."""

LEAST_SQUARE = 1e-30
"""Sums of squares above it have lost nothing to numbers whose squares are 0 in float32."""


class Layout(NamedTuple):
    """How the n examples lie in a tensor: along `axis`, which has n·m places.

    Place i·m + r belongs to example i; with `strided` place r·n + i does.
    """

    axis: int
    strided: bool = False

    def rows(self, x: Tensor, n: int, kept: int) -> Tensor:
        """Examples first: x as (n, T, *last `kept` axes), a view where that is possible.

        T counts all axes that are neither the examples' nor kept. The axes before the last `kept`
        must hold the examples' axis.
        """
        shape, axis = x.shape, self.axis
        last = shape[len(shape) - kept :]
        if axis == 0 and not self.strided:
            return x.reshape(n, -1, *last)
        split = (-1, n) if self.strided else (n, -1)
        x = x.unflatten(axis, split).movedim(axis + self.strided, 0)
        return x.reshape(n, -1, *last)

    def first(self, x: Tensor, n: int) -> Tensor:
        """Examples first: x as (n, *shape of one example), m in the place of the examples' axis."""
        if self.axis == 0 and not self.strided:
            return x.unflatten(0, (n, -1))
        split = (-1, n) if self.strided else (n, -1)
        return x.unflatten(self.axis, split).movedim(self.axis + self.strided, 0)


@dataclass(slots=True)
class Arguments:
    """The arguments of a call: its input, its parameters by role ("weight", "bias"), the rest.

    A call without an input that differs between examples, as p.expand(n, …), has none.

    `parameters` holds every tensor in such a role, trainable or not; a role that is None is left
    out. `saved` is the kind's own: what `run` keeps for `gradients`. `touched` are the roles whose
    gradients are wanted.
    """

    inputs: Any
    parameters: dict[str, Tensor]
    options: tuple[Any, ...] = ()
    saved: tuple[Any, ...] = ()
    touched: tuple[str, ...] = ()

    def widened(self, dtype: torch.dtype) -> "Arguments":
        """The same with floating point numbers in `dtype`, whose sums keep its digits."""
        return replace(
            self,
            inputs=_widened(self.inputs, dtype),
            parameters={role: _widened(each, dtype) for role, each in self.parameters.items()},
            saved=tuple(_widened(each, dtype) for each in self.saved),
        )


def _widened(found: Any, dtype: torch.dtype) -> Any:
    return found.to(dtype) if isinstance(found, Tensor) and found.is_floating_point() else found


class Gradients(ABC):
    """g_n of one use of a parameter for each of n examples, not multiplied out."""

    shape: tuple[int, ...]
    """Of the parameter."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples, n."""

    @abstractmethod
    def sums(self, weights: Tensor | None) -> Tensor:
        """Σ w_n g_n in the parameter's shape; without `weights` (n,) each is 1."""

    @abstractmethod
    def each(self, rows: slice) -> Tensor:
        """g_n of the examples in `rows`, from a start to an end: (k, *shape)."""

    @abstractmethod
    def squared_norms(self) -> Tensor:
        """‖g_n‖² (n,) in float64."""

    def sums_and_squared_norms(self, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both, where one product can serve for both."""
        return self.sums(weights), self.squared_norms()

    @abstractmethod
    def sizes(self) -> Tensor | None:
        """Bounds (n,) in float64 of the length of g_n if no term of it cancels another.

        None: they are not known, so that only g_n, once formed, has a length.
        """

    def squared_norm_bounds(self) -> Tensor | None:
        """Bounds (n,) of ‖g_n‖² that hold for what `sums` adds of g_n, however it is rounded.

        See `rounding`. None where `sizes` are not known.
        """
        sizes = self.sizes()
        if sizes is None:
            return None
        share = rounding.of_sums(self.positions(), self.dtype)
        return self.squared_norms() + share * sizes.square()

    def positions(self) -> int:
        """T, the terms of a number of g_n."""
        return 1

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of g_n."""

    def join(self, others: "list[Gradients]") -> "Gradients | None":
        """One object for this and other uses of the same parameter; None: g_n must be formed.

        Norms of a parameter that is used several times are those of the sum of its uses.
        """
        return self if not others else None

    def row_bytes(self) -> int:
        """Bytes of one g_n."""
        return 8 * math.prod(self.shape)


class Kind(ABC):
    """A kind of torch call whose per-example gradients have formulas."""

    name: str
    """In a Trace."""

    functions: tuple[Callable[..., Any], ...]
    """As a TorchFunctionMode sees them: `torch.nn.functional.linear`, `torch.Tensor.matmul`."""

    @abstractmethod
    def arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """The arguments by their meaning; None: a form of the call that has no formulas here."""

    @abstractmethod
    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """The call's result with `parameters` in place of its own; may set `arguments.saved`.

        Trainable ones are detached twins that require gradients, so that the result does; autograd
        never multiplies their gradients out.
        """

    @abstractmethod
    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """g_n of the parameter in `role`, from δ in the result's shape.

        `layout` says where the examples lie in the result.
        """

    def held(self, arguments: Arguments) -> list[Tensor]:
        """Tensors that `gradients` needs as they are now, not changed in place later."""
        return [] if arguments.inputs is None else [arguments.inputs]

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        """Number of last axes of the result among which the examples' axis may not be."""
        return result.dim() - 1

    def mean_inputs(
        self, arguments: Arguments, layout: Layout, n: int, weights: Tensor | None
    ) -> Tensor | None:
        """Σ w_n a_n in the shape of one example's input; None: the call has no such mean."""
        inputs = self.inputs(arguments)
        return None if inputs is None else weighted_sum(layout.first(inputs, n), weights)

    def inputs(self, arguments: Arguments) -> Tensor | None:
        """What differs between examples, if that is one tensor."""
        return arguments.inputs

    def with_inputs(self, arguments: Arguments, inputs: Tensor) -> Arguments:
        """The arguments with another tensor in the place of `inputs`."""
        return replace(arguments, inputs=inputs)

    def of_means(self) -> "Kind":
        """The kind that takes what `mean_inputs` gives, over Σ w_n, as the inputs of an example."""
        return self


class Formed(Gradients):
    """g_n that are formed: (n, *shape)."""

    def __init__(self, rows: Tensor) -> None:
        self.rows, self.shape = rows, tuple(rows.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def sums(self, weights: Tensor | None) -> Tensor:
        """Σ w_n g_n."""
        return weighted_sum(self.rows, weights)

    def each(self, rows: slice) -> Tensor:
        """g_n."""
        return self.rows[rows]

    def squared_norms(self) -> Tensor:
        """‖g_n‖²."""
        return squared(self.rows)

    def sizes(self) -> Tensor:
        """‖g_n‖: sums take the very numbers."""
        return squared(self.rows).sqrt()

    def squared_norm_bounds(self) -> Tensor:
        """‖g_n‖²."""
        return squared(self.rows)

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    def join(self, others: list[Gradients]) -> Gradients | None:
        """Their sum, if all are formed."""
        rows = self.rows
        for other in others:
            if not isinstance(other, Formed):
                return None
            rows = rows + other.rows
        return Formed(rows) if others else self


def squared(rows: Tensor) -> Tensor:
    """‖x_n‖² of (n, …), in float64.

    Numbers of less than 64 bits are summed in their own precision by BLOCK, and the blocks in
    float64: several times faster, and rounded no worse. Rows whose squares leave their range are
    computed in float64.
    """
    rows = rows.flatten(1) if rows.dim() > 1 else rows[:, None]
    count = rows.shape[1]
    if rows.dtype == torch.float64 or count < BLOCK:
        return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).square()
    whole = count // BLOCK * BLOCK
    blocks = torch.linalg.vector_norm(rows[:, :whole].unflatten(1, (-1, BLOCK)), dim=2)
    found = blocks.double().square().sum(1) + squared(rows[:, whole:])
    sure = (found > LEAST_SQUARE) & found.isfinite()
    for n in (~sure).nonzero()[:, 0].tolist():
        found[n] = torch.linalg.vector_norm(rows[n], dtype=torch.float64).square()
    return found


def lengths(x: Tensor) -> Tensor:
    """‖x_nt‖ (n, T) of (n, T, d), in float64; by float32 where squares stay in its range."""
    if x.dtype != torch.float64 and x.numel():
        found = torch.linalg.vector_norm(x, dim=2)
        if found.min() > LEAST_SQUARE**0.5 and found.max() < 1 / LEAST_SQUARE**0.5:
            return found.double()
    return torch.linalg.vector_norm(x, dim=2, dtype=torch.float64)


def weighted_sum(x: Tensor, weights: Tensor | None) -> Tensor:
    """Σ w_n x_n of (n, …), as a product also where all weights are 1: that reads memory faster."""
    shares = x.new_ones(len(x)) if weights is None else weights
    return (shares @ x.reshape(len(x), -1)).view(x.shape[1:])


def weighted(x: Tensor, weights: Tensor | None) -> Tensor:
    """w_n x_n of (n, …); x itself where the weights are None: all 1."""
    return x if weights is None else x * weights.view(-1, *[1] * (x.dim() - 1))


def chunks(n: int, bytes_each: int, budget: int = CHUNK_BYTES) -> Iterator[slice]:
    """Ranges of n examples of `bytes_each`, each range within the budget, or one example."""
    size = max(1, budget // max(1, bytes_each))
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
