"""Forward passes that ask whether a mask leaves anything out, as transformers do."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Batch, Replica

Pool = Callable[[Tensor, Tensor], Tensor]


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self, pool: Pool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.head, self.pool = nn.Linear(4, 5), nn.Linear(5, 3), pool

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.pool(torch.tanh(self.first(inputs)), mask))


def masked_mean(h: Tensor, mask: Tensor) -> Tensor:
    kept = mask[:, :, None]
    return (h * kept).sum(1) / kept.sum(1)


def shortened(h: Tensor, mask: Tensor) -> Tensor:
    """The same mean by another way where nothing is left out."""
    return h.mean(1) if mask.all() else masked_mean(h, mask)


def made(pool: Pool, lengths: list[int]) -> tuple[Replica, Batch]:
    def outputs(module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        return module(batch["inputs"], batch["mask"])

    def losses(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return functional.cross_entropy(outputs, batch["targets"], reduction="none")

    random, n = torch.Generator().manual_seed(3), len(lengths)
    arrays = {
        "inputs": torch.randn(n, 6, 4, dtype=torch.float64, generator=random),
        "mask": (torch.arange(6)[None] < torch.tensor(lengths)[:, None]).long(),
        "targets": torch.arange(n) % 3,
    }
    replica = Replica(Task(Net(pool), outputs, losses), torch.float64)
    return replica, Batch(arrays, torch.ones(n, dtype=torch.float64))


PADDED, FULL = [6, 3, 4, 6, 2], [6] * 5


@pytest.mark.parametrize("lengths", [PADDED, FULL, [2] * 5])
def test_a_decision_whose_outcomes_agree_does_not_keep_examples_apart(lengths: list[int]) -> None:
    replica, batch = made(shortened, lengths)
    found = prepare(replica, batch)
    assert found.trace is not None
    assert found.looks_at_data == ()
    assert found.decisions == ("a decision by Python in the whole module",)
    assert found.rounds
    for other in (PADDED, FULL):
        _, rows = made(shortened, other)
        sums = together.sums(replica, rows, found.trace)
        expected = one_by_one.sums(replica, rows)
        torch.testing.assert_close(sums.norms, expected.norms, rtol=1e-12, atol=1e-14)


def test_outcomes_that_differ_for_a_row_in_a_batch_are_refused() -> None:
    replica, batch = made(lambda h, mask: masked_mean(h, mask) * (2 if mask.all() else 1), PADDED)
    with pytest.raises(Refused, match="mixes examples"):
        prepare(replica, batch)


def test_an_outcome_that_these_rows_do_not_have_is_tried() -> None:
    replica, batch = made(lambda h, mask: masked_mean(h, mask) * (2 if mask.all() else 1), FULL)
    found = prepare(replica, batch)
    assert found.path == "one_by_one"
    assert found.looks_at_data == ("a decision by Python in the whole module",)


def test_a_decision_with_one_known_outcome_goes_one_by_one() -> None:
    replica, batch = made(lambda h, mask: h[:, 0] if (mask > 5).any() else h[:, 1], PADDED)
    assert prepare(replica, batch).path == "one_by_one"


def test_decisions_by_floating_point_numbers_go_one_by_one() -> None:
    replica, batch = made(lambda h, _: h.mean(1) if (h.abs() < 2).all() else h.sum(1), PADDED)
    found = prepare(replica, batch)
    assert found.path == "one_by_one"
    assert found.looks_at_data == ("a number read by Python in the whole module",)
