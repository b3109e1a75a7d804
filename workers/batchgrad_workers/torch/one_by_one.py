"""Per-example gradients by plain autograd on one example at a time: the definition of g_n."""

from collections.abc import Collection

import torch
from torch import Tensor

from batchgrad_workers.torch.replica import Batch, Replica, Sums


def sums(replica: Replica, batch: Batch) -> Sums:
    """Σ w_n g_n of a microbatch, each loss and each ‖g_n‖."""
    gradients = {name: torch.zeros_like(each) for name, each in replica.trainable.items()}
    losses, norms = [], []
    for n in range(len(batch)):
        loss, own = gradient(replica, batch.row(n))
        for name, each in own.items():
            gradients[name].add_(each * batch.weights[n])
        losses.append(loss)
        norms.append(norm(own))
    return Sums(gradients, torch.cat(losses), torch.stack(norms))


def each(replica: Replica, batch: Batch, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """g_n of every example by parameter, (n, *shape); of all, or of those in `names`.

    N x P numbers: for few examples.
    """
    rows = [gradient(replica, batch.row(n), names)[1] for n in range(len(batch))]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def norm(own: dict[str, Tensor]) -> Tensor:
    """‖g‖ in float64, which overflows only if a number of g is not finite."""
    flat = [each.detach().double().flatten() for each in own.values()]
    length = torch.linalg.vector_norm(torch.cat([torch.linalg.vector_norm(x)[None] for x in flat]))
    if torch.isfinite(length) and (length > 1e-140 or length == 0):
        return length
    largest = torch.stack([x.abs().max() for x in flat if len(x)]).max()
    if not torch.isfinite(largest) or largest == 0:
        return largest
    return largest * torch.linalg.vector_norm(torch.cat(flat) / largest)


def gradient(
    replica: Replica, row: Batch, names: Collection[str] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss (1,) of one example, and its gradient by parameter."""
    parameters = {
        name: each for name, each in replica.trainable.items() if names is None or name in names
    }
    losses = replica.losses(row)
    found = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
    return losses.detach(), {
        name: torch.zeros_like(parameter) if own is None else own.to_dense()
        for (name, parameter), own in zip(parameters.items(), found, strict=True)
    }
