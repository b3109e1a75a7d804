"""Per-example gradients of parameters whose calls have no formulas, by autograd alone."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.replica import Batch, Replica

VMAP, LOOP = "vmap", "loop"


def choose(replica: Replica, batch: Batch, names: tuple[str, ...]) -> str:
    """VMAP where torch can compute these parameters by it and they agree with LOOP; else LOOP.

    vmap does not draw by keys: with dropout they disagree, or it fails. Where it warns that it has
    no rule for a call it is slow.
    """
    if not names:
        return LOOP
    expected = one_by_one.each(replica, batch, names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = by_vmap(replica, batch, names)
    except Exception:  # noqa: BLE001 - that it fails, in whatever way, is the answer
        return LOOP
    precision = torch.finfo(replica.dtype).eps ** 0.5
    agree = all(torch.allclose(found[name], expected[name], precision, precision) for name in names)
    return VMAP if agree else LOOP


def each(replica: Replica, batch: Batch, names: tuple[str, ...], way: str) -> dict[str, Tensor]:
    """g_n by parameter of `names`, (n, *shape)."""
    return (by_vmap if way == VMAP else one_by_one.each)(replica, batch, names)


def by_vmap(replica: Replica, batch: Batch, names: tuple[str, ...]) -> dict[str, Tensor]:
    """All examples in one pass, over which torch maps the gradient of one."""
    whole = _Losses(replica)

    def loss(parameters: dict[str, Tensor], arrays: Mapping[str, Tensor]) -> Tensor:
        rows = {name: array[None] for name, array in arrays.items()}
        return torch.func.functional_call(whole, parameters, (rows,)).sum()

    parameters = {f"module.{name}": replica.trainable[name].detach() for name in names}
    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, dict(batch.arrays))
    return {name: found[f"module.{name}"].detach() for name in names}


class _Losses(nn.Module):  # type: ignore[misc]
    """A task's losses as a module."""

    def __init__(self, replica: Replica) -> None:
        super().__init__()
        self.module, self.task = replica.module, replica.task

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """ℓ_n (n,)."""
        return self.task.losses(self.task.outputs(self.module, arrays), arrays)
