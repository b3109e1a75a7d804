"""Tensors that stand for trainable parameters: the parameters, and what is made of them alone."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from batchgrad_workers.torch.formulas.base import Gradients


@dataclass(slots=True)
class Value:
    """A parameter, or a tensor made of the parameters `names`, with the graph of its making."""

    tensor: Tensor
    names: tuple[str, ...]
    made: bool = False
    _twin: Tensor | None = field(default=None, repr=False)

    @property
    def twin(self) -> Tensor:
        """A leaf with the same numbers, which stands in calls for the tensor."""
        if self._twin is None:
            self._twin = self.tensor.detach().requires_grad_()
        return self._twin


class Pulled(Gradients):
    """g_n of a parameter through a tensor made of it, of which `inner` are the gradients."""

    def __init__(self, inner: Gradients, made: Tensor, parameter: nn.Parameter) -> None:
        self.inner, self.made, self.parameter = inner, made, parameter
        self.shape = tuple(parameter.shape)

    def __len__(self) -> int:
        return len(self.inner)

    def sums(self, weights: Tensor | None) -> Tensor:
        """The pull-back of the sum, which is linear."""
        return self._pull(self.inner.sums(weights))

    def each(self, rows: slice) -> Tensor:
        """Row by row."""
        return torch.stack([self._pull(row) for row in self.inner.each(rows)])

    def squared_norms(self) -> Tensor:
        """Row by row."""
        return torch.stack(
            [
                torch.linalg.vector_norm(self.each(slice(n, n + 1)), dtype=torch.float64).square()
                for n in range(len(self))
            ]
        )

    def sizes(self) -> None:
        """None: a pull-back may cancel what it is given."""

    @property
    def dtype(self) -> torch.dtype:
        return self.parameter.dtype

    def _pull(self, gradient: Tensor) -> Tensor:
        found = torch.autograd.grad(
            self.made, self.parameter, gradient, retain_graph=True, allow_unused=True
        )[0]
        return torch.zeros_like(self.parameter) if found is None else found


class Viewed(Gradients):
    """g_n of a parameter through a view of it: a transpose, a slice, other sizes."""

    def __init__(self, inner: Gradients, view: Tensor, parameter: nn.Parameter) -> None:
        self.inner, self.view, self.parameter = inner, view, parameter
        self.shape = tuple(parameter.shape)

    def __len__(self) -> int:
        return len(self.inner)

    def sums(self, weights: Tensor | None) -> Tensor:
        """The sum, in the places of the view."""
        total = self._zeros()
        self._places(total).copy_(self.inner.sums(weights))
        return total

    def each(self, rows: slice) -> Tensor:
        """g_n in the places of the view."""
        found = []
        for row in self.inner.each(rows):
            found.append(self._zeros())
            self._places(found[-1]).copy_(row)
        return torch.stack(found)

    def squared_norms(self) -> Tensor:
        """Those of the view: it holds each number of the parameter once at most."""
        return self.inner.squared_norms()

    def sizes(self) -> Tensor | None:
        """Those of the view."""
        return self.inner.sizes()

    def squared_norm_bounds(self) -> Tensor | None:
        """Those of the view."""
        return self.inner.squared_norm_bounds()

    def positions(self) -> int:
        return self.inner.positions()

    @property
    def dtype(self) -> torch.dtype:
        return self.inner.dtype

    def sums_and_squared_norms(self, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both, of the view."""
        own, norms = self.inner.sums_and_squared_norms(weights)
        total = self._zeros()
        self._places(total).copy_(own)
        return total, norms

    def join(self, others: list[Gradients]) -> Gradients | None:
        """Views that share no number, as the thirds of a weight: their norms add."""
        if not others:
            return self
        views = [use for use in [self, *others] if isinstance(use, Viewed)]
        taken = self._zeros()
        for use in views:
            use._places(taken).add_(1)  # noqa: SLF001 - its own kind
        return None if bool((taken > 1).any()) else Disjoint(views)

    def _zeros(self) -> Tensor:
        return torch.zeros_like(self.parameter, memory_format=torch.contiguous_format)

    def _places(self, whole: Tensor) -> Tensor:
        """The view of `whole` (*shape, contiguous) that `view` is of the parameter."""
        offset = self.view.storage_offset() - self.parameter.storage_offset()
        return whole.as_strided(self.view.shape, self.view.stride(), offset)


class Disjoint(Gradients):
    """g_n of views that share no number."""

    def __init__(self, views: list[Viewed]) -> None:
        self.views, self.shape = views, views[0].shape

    def __len__(self) -> int:
        return len(self.views[0])

    def sums(self, weights: Tensor | None) -> Tensor:
        """Σ over the views."""
        first, *others = (view.sums(weights) for view in self.views)
        return sum(others, first)

    def each(self, rows: slice) -> Tensor:
        """Σ over the views."""
        first, *others = (view.each(rows) for view in self.views)
        return sum(others, first)

    def squared_norms(self) -> Tensor:
        """Σ over the views."""
        first, *others = (view.squared_norms() for view in self.views)
        return sum(others, first)

    def sizes(self) -> Tensor | None:
        """The root of Σ over the views of their squares."""
        found = [view.sizes() for view in self.views]
        known = [each.square() for each in found if each is not None]
        return sum(known[1:], known[0]).sqrt() if len(known) == len(found) else None

    def squared_norm_bounds(self) -> Tensor | None:
        """Σ over the views."""
        found = [view.squared_norm_bounds() for view in self.views]
        known = [each for each in found if each is not None]
        return sum(known[1:], known[0]) if len(known) == len(found) else None

    def positions(self) -> int:
        return max(view.positions() for view in self.views)

    @property
    def dtype(self) -> torch.dtype:
        return self.views[0].dtype


def pulled(inner: Gradients, made: Tensor, parameter: nn.Parameter) -> Gradients:
    """g_n of the parameter from those of a tensor made of it."""
    if is_view(made, parameter):
        return Viewed(inner, made, parameter)
    return Pulled(inner, made, parameter)


def is_view(made: Tensor, parameter: Tensor) -> bool:
    """Whether `made` is a view that holds each number of the contiguous parameter once at most."""
    if made._base is not parameter or not parameter.is_contiguous() or made.numel() == 0:
        return False
    reach = 1
    axes = sorted(zip(made.stride(), made.shape, strict=True))
    for stride, size in axes:
        if size != 1:
            if stride < reach:
                return False
            reach = stride * size
    return True
