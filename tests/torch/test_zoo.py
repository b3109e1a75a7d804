"""Each model of the zoo: its per-example gradients against differences of its losses."""

import pytest
import torch
from torch import Tensor

from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.replica import Batch, Replica
from tests.torch.zoo.case import Case
from tests.torch.zoo.everything import ALL
from tests.torch.zoo.mixing import MIXING, Mixing

STEP = 1e-5


def test_the_zoo_is_large() -> None:
    assert len(ALL) >= 60


def losses_along(replica: Replica, batch: Batch, direction: dict[str, Tensor], by: float) -> Tensor:
    """The losses (n,) of the whole batch at θ + by·direction."""
    with torch.no_grad():
        for name, parameter in replica.trainable.items():
            parameter.add_(direction[name], alpha=by)
    losses = replica.losses(batch).detach()
    with torch.no_grad():
        for name, parameter in replica.trainable.items():
            parameter.sub_(direction[name], alpha=by)
    return losses


@pytest.mark.parametrize("case", [case for case in ALL if case.slopes], ids=lambda case: case.name)
def test_gradients_are_slopes_of_the_losses(case: Case) -> None:
    replica, batch = case.made()
    rows = one_by_one.each(replica, batch)
    random = torch.Generator().manual_seed(0)
    direction = {
        name: torch.randn(each.shape, dtype=torch.float64, generator=random)
        for name, each in replica.trainable.items()
    }
    slopes = sum((rows[name] * direction[name]).reshape(len(batch), -1).sum(1) for name in rows)
    after, before = (losses_along(replica, batch, direction, by) for by in (STEP, -STEP))
    torch.testing.assert_close(slopes, (after - before) / (2 * STEP), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_losses_of_one_example_do_not_depend_on_others(case: Case) -> None:
    replica, batch = case.made()
    torch.testing.assert_close(
        one_by_one.sums(replica, batch).losses,
        replica.losses(batch).detach(),
        rtol=1e-12,
        atol=1e-14,
    )


@pytest.mark.parametrize("mixing", MIXING.values(), ids=lambda mixing: mixing.name)
def test_losses_of_models_that_mix_depend_on_other_examples(mixing: Mixing) -> None:
    replica, batch = mixing.made()
    whole, alone = replica.losses(batch).detach(), []
    for rows in (slice(3), slice(3, 6)):
        arrays = {name: array[rows] for name, array in batch.arrays.items()}
        alone.append(replica.losses(Batch(arrays, batch.weights[rows])).detach())
    assert torch.allclose(torch.cat(alone), whole, rtol=1e-9, atol=0) is not mixing.sees
