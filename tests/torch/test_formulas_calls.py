"""Formulas of products by letters, bags of rows, and operations by element, against autograd."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from batchgrad_workers.torch.formulas.base import Kind, Layout
from batchgrad_workers.torch.formulas.broadcast import Broadcast, Expand, PReLU
from batchgrad_workers.torch.formulas.contraction import Einsum, StackProduct
from batchgrad_workers.torch.formulas.embedding import Embedding, EmbeddingBag
from batchgrad_workers.torch.formulas.linear import AddMm, Linear, RightProduct
from tests.torch.one_call import FIRST, Called, N, check, normal

IDS = torch.tensor([[0, 3, 3, 1], [2, 2, 2, 2], [3, 0, 1, 2], [1, 1, 3, 0], [3, 3, 3, 1]])
SECOND, STRIDED = Layout(1), Layout(0, strided=True)


@pytest.fixture(autouse=True)
def random() -> None:
    torch.manual_seed(9)


CALLS: dict[str, tuple[Kind, Callable[..., Any], Callable[[], tuple[Any, ...]], str, Layout]] = {
    "linear": (
        Linear(),
        functional.linear,
        lambda: (normal(N, 3, 4), normal(6, 4)),
        "weight",
        FIRST,
    ),
    "bias": (
        Linear(),
        functional.linear,
        lambda: (normal(N, 3, 4), normal(6, 4), normal(6)),
        "bias",
        FIRST,
    ),
    "examples second": (
        Linear(),
        functional.linear,
        lambda: (normal(3, N, 4), normal(6, 4)),
        "weight",
        SECOND,
    ),
    "examples strided": (
        Linear(),
        functional.linear,
        lambda: (normal(3 * N, 4), normal(6, 4)),
        "weight",
        STRIDED,
    ),
    "addmm": (
        AddMm(),
        torch.addmm,
        lambda: (normal(6), normal(N, 4), normal(4, 6)),
        "weight",
        FIRST,
    ),
    "right": (
        RightProduct(),
        torch.matmul,
        lambda: (normal(N, 3, 4), normal(4, 6)),
        "weight",
        FIRST,
    ),
    "vector": (StackProduct(), torch.matmul, lambda: (normal(N, 3, 4), normal(4)), "1", FIRST),
    "stack": (
        StackProduct(),
        torch.matmul,
        lambda: (normal(N, 2, 3, 4), normal(2, 4, 6)),
        "1",
        FIRST,
    ),
    "broadcast input": (
        StackProduct(),
        torch.matmul,
        lambda: (normal(N, 1, 3, 4), normal(2, 4, 6)),
        "1",
        FIRST,
    ),
    "broadcast stack": (
        StackProduct(),
        torch.matmul,
        lambda: (normal(N, 2, 3, 4), normal(1, 4, 6)),
        "1",
        FIRST,
    ),
    "stack of all examples": (
        StackProduct(),
        torch.bmm,
        lambda: (normal(2, 3 * N, 4), normal(2, 4, 6)),
        "1",
        SECOND,
    ),
    "stack first": (
        StackProduct(),
        torch.matmul,
        lambda: (normal(2, 6, 4), normal(N, 2, 4, 3)),
        "0",
        FIRST,
    ),
    "einsum": (
        Einsum(),
        torch.einsum,
        lambda: ("nti,hio->nhto", normal(N, 3, 4), normal(2, 4, 6)),
        "1",
        FIRST,
    ),
    "einsum with an ellipsis": (
        Einsum(),
        torch.einsum,
        lambda: ("io,...i->...o", normal(4, 6), normal(N, 2, 3, 4)),
        "0",
        FIRST,
    ),
    "lookup": (
        Embedding(),
        functional.embedding,
        lambda: (IDS, normal(4, 3), 2),
        "weight",
        FIRST,
    ),
    "lookup of numbers": (
        Embedding(),
        torch.Tensor.__getitem__,
        lambda: (normal(4), IDS - 2),
        "weight",
        FIRST,
    ),
    "prelu": (PReLU(), torch.prelu, lambda: (normal(N, 3, 4), normal(3)), "weight", FIRST),
    "one prelu": (PReLU(), torch.prelu, lambda: (normal(N, 3), normal(1)), "weight", FIRST),
    "sum": (Broadcast(), torch.add, lambda: (normal(N, 3, 4), normal(3, 1)), "1", FIRST),
    "difference": (Broadcast(), torch.sub, lambda: (normal(N, 3, 4), normal(4)), "1", FIRST),
    "product": (Broadcast(), torch.mul, lambda: (normal(1, 1, 4), normal(N, 3, 4)), "0", FIRST),
    "second": (Broadcast(), torch.mul, lambda: (normal(3, 1, 1), normal(3, N, 4)), "0", SECOND),
    "quotient": (Broadcast(), torch.div, lambda: (normal(N, 3, 4), normal(4)), "1", FIRST),
    "choice": (
        Broadcast(),
        torch.where,
        lambda: (normal(N, 3) > 0, normal(N, 3), normal(3)),
        "2",
        FIRST,
    ),
    "copies": (Expand(), torch.Tensor.expand, lambda: (normal(1, 3), N, -1), "weight", FIRST),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    kind, function, given, role, layout = CALLS[name]
    called = Called(kind, function, *given(), layout=layout)
    check(lambda: called.gradients(role), called.expected(role))


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding", [None, 2, -2])
def test_bags(mode: str, padding: int | None) -> None:
    called = Called(
        EmbeddingBag(),
        functional.embedding_bag,
        IDS,
        normal(4, 3),
        mode=mode,
        padding_idx=padding,
    )
    check(lambda: called.gradients("weight"), called.expected("weight"))


def test_weighted_bags() -> None:
    shares = torch.rand(IDS.shape, dtype=torch.float64)
    called = Called(
        EmbeddingBag(),
        functional.embedding_bag,
        IDS,
        normal(4, 3),
        mode="sum",
        per_sample_weights=shares,
    )
    check(lambda: called.gradients("weight"), called.expected("weight"))


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("nhto,ho->no", [(N, 2, 3, 4), (2, 4)]),
        ("nii,io->no", [(N, 3, 3), (3, 4)]),
        ("ni,io", [(N, 3), (3, 4)]),
        ("ni,i->n", [(N, 1), (3,)]),
        ("ni,ij,jk->nk", [(N, 3), (3, 3), (3, 3)]),
    ],
)
def test_contractions_without_formulas(equation: str, shapes: list[tuple[int, ...]]) -> None:
    operands = [normal(*shape) for shape in shapes]
    assert Einsum().arguments(torch.einsum, (equation, *operands), {}) is None
