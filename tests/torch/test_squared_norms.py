"""Squared norms of rows in float32: as of float64 numbers, for any length and size."""

import pytest
import torch

from batchgrad_workers.torch.formulas.base import BLOCK, squared


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 40 * BLOCK + 3])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-21, 1e-40, 1e15, 1e30])
def test_norms_of_float32_rows(count: int, scale: float) -> None:
    random = torch.Generator().manual_seed(1)
    rows = scale * torch.randn(4, 1, count, generator=random)
    rows[1] = 0
    rows[2, 0, 1:] = 0
    expected = rows.double().flatten(1).square().sum(1)
    torch.testing.assert_close(squared(rows), expected, rtol=3e-7, atol=0)


def test_rows_of_float64_are_exact() -> None:
    rows = torch.randn(3, 2 * BLOCK + 1, dtype=torch.float64)
    torch.testing.assert_close(squared(rows), rows.square().sum(1), rtol=1e-14, atol=0)


def test_a_number_that_is_not_finite_has_no_finite_norm() -> None:
    rows = torch.ones(2, 2 * BLOCK)
    rows[0, 5], rows[1, 7] = torch.inf, torch.nan
    assert squared(rows)[0] == torch.inf
    assert squared(rows)[1].isnan()
