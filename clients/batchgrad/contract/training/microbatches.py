"""Default sizes of microbatches, from the minibatch's size and the model alone.

They decide a job's bits, so they may depend on no CPU and no cluster.
"""

from collections.abc import Iterable
from math import ceil

from batchgrad.contract.model import AnyLayer, Residual

__all__ = ["DEFAULT_MICROBATCH"]

DEFAULT_MICROBATCH = 128
"""Default of B unless the model or N asks for another one: most products run at full speed."""

MOST_ROWS = 512
"""Most that is the default of B for layers without positions: AVX-512 gains up to so many rows."""

FED_CORES = 16
"""B grows beyond 128 only where a minibatch still has a microbatch for each of so many cores."""

LEAST_OF_MODULES = 16
"""Least default of B for a PyTorch module, unless half a minibatch is less."""

MOST_OF_PRIVATE_JOBS = 256
"""Most that is the default of B for a private job, whose minibatches are large."""

WITH_POSITIONS = frozenset(
    {"conv2d", "conv1d", "max_pool2d", "avg_pool2d", "global_avg_pool", "sequence_mean"}
    | {"group_norm", "embedding"}
)
"""Kinds of layers whose examples have many rows in a product each, so that B needs no more."""


def default_microbatch(batch_size: int, layers: Iterable[AnyLayer] | None, *, private: bool) -> int:
    """B for a minibatch of N examples; `layers` None is a PyTorch module."""
    quarter, wanted = ceil(batch_size / 4), DEFAULT_MICROBATCH
    if layers is None:
        wanted = min(wanted, max(quarter, min(ceil(batch_size / 2), LEAST_OF_MODULES)))
    elif private:
        wanted = min(max(wanted, quarter), MOST_OF_PRIVATE_JOBS)
    elif not _have_positions(layers):
        wanted = min(max(wanted, batch_size // FED_CORES), MOST_ROWS)
    return min(batch_size, wanted)


def _have_positions(layers: Iterable[AnyLayer]) -> bool:
    return any(
        _have_positions(layer.layers)
        if isinstance(layer, Residual)
        else layer.kind in WITH_POSITIONS
        for layer in layers
    )
