"""Examples along flattened axes, where the rows of the preflight have few errors or none."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad_workers.torch import one_by_one, ways
from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.replica import Batch, Replica
from tests.torch.zoo.case import IGNORED, Model, of_tokens, parameter, squares, task_of

WORDS, LENGTH = 7, 5


def time_first() -> Any:
    """Words (n, T) as T·n rows."""

    def forward(m: Any, ids: Tensor) -> Tensor:
        n, length = ids.shape
        h = m.b(m.a(m.words(ids.t().reshape(-1))).tanh())
        return h.view(length, n, WORDS).transpose(0, 1)

    return Model(forward, words=nn.Embedding(WORDS, 4), a=nn.Linear(4, 4), b=nn.Linear(4, WORDS))


def batch(n: int, ignored: tuple[int, ...] = ()) -> Batch:
    random = torch.Generator().manual_seed(n)
    ids, labels = (torch.randint(0, WORDS, (n, LENGTH), generator=random) for _ in range(2))
    labels[list(ignored)] = IGNORED
    return Batch({"inputs": ids, "targets": labels}, torch.ones(n, dtype=torch.float64))


@pytest.mark.parametrize("ignored", [tuple(range(8)), (0, 7), (0, 1, 2, 3, 7), tuple(range(7))])
def test_rows_without_errors_do_not_tell_where_examples_lie(ignored: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    replica = Replica(task_of(time_first(), of_tokens), torch.float64)
    preflight = prepare(replica, batch(8, ignored))
    assert preflight.path == "together"
    assert bool(preflight.uncovered) is (len(ignored) > 5)
    for n in (1, 3, 8):
        found = ways.sums(replica, batch(n), preflight)
        expected = one_by_one.sums(replica, batch(n))
        torch.testing.assert_close(found.norms, expected.norms, rtol=1e-12, atol=0)
        for name, own in expected.gradients.items():
            torch.testing.assert_close(found.gradients[name], own, rtol=1e-11, atol=1e-14)


def test_single_numbers_of_a_parameter_have_norms() -> None:
    torch.manual_seed(0)
    module = Model(
        lambda m, x: functional.linear(x, m.w) * m.gain[0] + m.gain[1],
        w=parameter(3, 4),
        gain=parameter(2),
    )
    random = torch.Generator().manual_seed(1)
    arrays = {
        name: torch.randn(6, size, dtype=torch.float64, generator=random)
        for name, size in (("inputs", 4), ("targets", 3))
    }
    rows = Batch(arrays, torch.ones(6, dtype=torch.float64))
    replica = Replica(task_of(module, squares), torch.float64)
    preflight = prepare(replica, rows)
    assert (preflight.path, preflight.uncovered) == ("together", ())
    found, expected = ways.sums(replica, rows, preflight), one_by_one.sums(replica, rows)
    torch.testing.assert_close(found.norms, expected.norms, rtol=1e-12, atol=0)
