"""One torch call of a kind with formulas: its per-example gradients there, and by autograd."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas.base import Gradients, Kind, Layout

WEIGHTS = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.5], dtype=torch.float64)
N = len(WEIGHTS)
FIRST = Layout(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


class Called:
    """A call, its result, an error of the result's shape, and formulas' gradients by role."""

    def __init__(
        self,
        kind: Kind,
        function: Callable[..., Any],
        *args: Any,
        layout: Layout = FIRST,
        n: int = N,
        **kwargs: Any,
    ) -> None:
        found = kind.arguments(function, args, kwargs)
        assert found is not None
        self.arguments, self.n, self.layout = found, n, layout
        twins = {role: each.detach() for role, each in found.parameters.items()}
        for each in twins.values():
            each.requires_grad_()
        self.result = kind.run(found, twins)
        torch.testing.assert_close(self.result, function(*args, **kwargs), rtol=0, atol=0)
        self.error = torch.randn_like(self.result)
        self.kind, self.twins = kind, twins

    def gradients(self, role: str) -> Gradients:
        return self.kind.gradients(self.arguments, role, self.error, self.layout, self.n)

    def expected(self, role: str) -> Tensor:
        """g_n by autograd: the error of the others set to 0."""
        rows = []
        for n in range(self.n):
            own = torch.zeros_like(self.error)
            split = (-1, self.n) if self.layout.strided else (self.n, -1)
            axis = self.layout.axis
            place = axis + 1 if self.layout.strided else axis
            source = self.error.unflatten(axis, split).select(place, n)
            own.unflatten(axis, split).select(place, n).copy_(source)
            (row,) = torch.autograd.grad(self.result, self.twins[role], own, retain_graph=True)
            rows.append(row)
        return torch.stack(rows)


def check(found: Callable[[], Gradients], expected: Tensor, weights: Tensor = WEIGHTS) -> None:
    """Sums, norms and rows, in every order in which they are asked for."""
    squares = expected.flatten(1).square().sum(1)
    whole, half = torch.einsum("n,n...->...", weights, expected), expected.sum(0)
    assert found().shape == tuple(expected.shape[1:])
    close(found().each(slice(1, 4)), expected[1:4])
    close(found().sums(weights), whole)
    close(found().sums(None), half)
    close(found().squared_norms(), squares)
    total, norms = found().sums_and_squared_norms(weights)
    close(total, whole)
    close(norms, squares)
    close(found().sums_and_squared_norms(None)[0], half)
    later = found()
    later.squared_norms()
    close(later.sums(weights), whole)
    close(later.each(slice(2, 5)), expected[2:5])


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
