"""Norms and sums from inputs and errors: cancelling terms, ranges, ties; against formed g_n."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from batchgrad_workers.torch.formulas.base import Formed, Gradients
from batchgrad_workers.torch.formulas.joined import Several, Tied, joined
from batchgrad_workers.torch.formulas.outer import Outer
from batchgrad_workers.torch.formulas.scatter import Scatter

N = 7


@pytest.fixture(autouse=True)
def random() -> None:
    torch.manual_seed(5)


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype)


def formed(inputs: Tensor, errors: Tensor) -> Tensor:
    """Σ_t δ_nt a_ntᵀ, in float64."""
    return torch.einsum("nto,nti->noi", errors.double(), inputs.double())


def squares(rows: Tensor) -> Tensor:
    return rows.double().flatten(1).square().sum(1)


@pytest.mark.parametrize("positions", [1, 2, 5, 40])
@pytest.mark.parametrize("weights", [None, torch.rand(N, dtype=torch.float64)])
def test_products(positions: int, weights: Tensor | None) -> None:
    inputs, errors = normal(N, positions, 11), normal(N, positions, 13)
    use, expected = Outer(inputs, errors), formed(inputs, errors)
    factors = torch.ones(N, dtype=torch.float64) if weights is None else weights
    total = torch.einsum("n,noi->oi", factors, expected)
    torch.testing.assert_close(use.sums(weights), total, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(use.squared_norms(), squares(expected), rtol=1e-9, atol=0)
    torch.testing.assert_close(use.each(slice(2, 5)), expected[2:5], rtol=1e-9, atol=1e-12)
    both = use.sums_and_squared_norms(weights)
    torch.testing.assert_close(both[0], total, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(both[1], squares(expected), rtol=1e-9, atol=0)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_norms_where_terms_cancel(size: float) -> None:
    """Equal positions with errors that cancel: a Gram sum alone is off by thousands."""
    inputs = normal(N, 1, 64, dtype=torch.float32).expand(N, 8, 64).contiguous()
    errors = size * normal(N, 1, 64, dtype=torch.float32).expand(N, 8, 64).contiguous()
    errors[:, ::2] *= -1
    errors += normal(N, 8, 64, dtype=torch.float32)
    found = Outer(inputs, errors).squared_norms()
    torch.testing.assert_close(found, squares(formed(inputs, errors)), rtol=1e-2, atol=0)


@pytest.mark.parametrize("small", [1e-1, 1e-2, 1e-3, 1e-4])
def test_norms_where_positions_nearly_agree(small: float) -> None:
    inputs = normal(N, 1, 64, dtype=torch.float32) + small * normal(N, 5, 64, dtype=torch.float32)
    errors = normal(N, 5, 64, dtype=torch.float32)
    errors -= errors.mean(1, keepdim=True)
    found = Outer(inputs, errors).squared_norms()
    torch.testing.assert_close(found, squares(formed(inputs, errors)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("scale", [1e-35, 1e-25, 1e-12, 1e12, 1e17])
@pytest.mark.parametrize("positions", [1, 3])
def test_norms_of_small_and_large_numbers(scale: float, positions: int) -> None:
    inputs = normal(N, positions, 16, dtype=torch.float32) * scale
    errors = normal(N, positions, 16, dtype=torch.float32)
    found = Outer(inputs, errors).squared_norms()
    torch.testing.assert_close(found, squares(formed(inputs, errors)), rtol=1e-5, atol=0)


def test_norms_of_examples_without_error_are_zero() -> None:
    inputs, errors = normal(N, 3, 16), normal(N, 3, 16)
    errors[2] = 0
    assert float(Outer(inputs, errors).squared_norms()[2]) == 0.0


def tables() -> tuple[Tensor, Tensor]:
    """Ids (n, T) of 6 rows, and errors (n, T, 4)."""
    return torch.randint(0, 6, (N, 9)), normal(N, 9, 4)


def scattered(ids: Tensor, errors: Tensor) -> Tensor:
    return torch.einsum("ntv,ntd->nvd", torch.nn.functional.one_hot(ids, 6).double(), errors)


@pytest.mark.parametrize("padding", [None, 3])
def test_lookups(padding: int | None) -> None:
    ids, errors = tables()
    use, expected = Scatter(ids, errors, (6, 4), padding), scattered(ids, errors)
    if padding is not None:
        expected[:, padding] = 0
    torch.testing.assert_close(use.sums(None), expected.sum(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(use.squared_norms(), squares(expected), rtol=1e-9, atol=0)
    torch.testing.assert_close(use.each(slice(1, 4)), expected[1:4], rtol=1e-9, atol=1e-12)


def outer() -> Gradients:
    return Outer(normal(N, 5, 4), normal(N, 5, 6))


def scatter() -> Gradients:
    return Scatter(*tables(), (6, 4))


def rows() -> Gradients:
    return Formed(normal(N, 6, 4))


@pytest.mark.parametrize(
    "uses",
    [
        [outer, outer, outer],
        [scatter, scatter],
        [rows, rows],
        [outer, scatter],
        [outer, scatter, outer, scatter],
        [outer, rows],
        [outer, scatter, rows],
    ],
)
def test_uses_of_one_parameter(uses: list[Callable[[], Gradients]]) -> None:
    made = [use() for use in uses]
    expected = torch.stack([use.each(slice(0, N)) for use in made]).sum(0)
    whole, weights = joined(made), torch.rand(N, dtype=torch.float64)
    total = torch.einsum("n,noi->oi", weights, expected)
    torch.testing.assert_close(whole.sums(weights), total, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(whole.squared_norms(), squares(expected), rtol=1e-9, atol=0)
    torch.testing.assert_close(whole.each(slice(3, 5)), expected[3:5], rtol=1e-9, atol=1e-12)


def test_a_table_and_its_head_are_not_formed() -> None:
    whole = joined([outer(), scatter()])
    assert isinstance(whole, Tied)
    assert isinstance(joined([outer(), rows()]), Several)


def test_a_table_and_its_head_that_cancel() -> None:
    ids, errors = tables()
    own = Scatter(ids, errors.float(), (6, 4))
    opposite = torch.nn.functional.one_hot(ids, 6).float()
    head = Outer(-errors.float() + 1e-3 * normal(N, 9, 4, dtype=torch.float32), opposite)
    expected = scattered(ids, errors.float().double()) + formed(head.inputs, head.errors)
    found = joined([head, own]).squared_norms()
    torch.testing.assert_close(found, squares(expected), rtol=1e-3, atol=0)
