"""Default sizes of microbatches, from the minibatch's size and the kind of job alone."""

from math import ceil

__all__ = ["DEFAULT_MICROBATCH"]

DEFAULT_MICROBATCH = 128
"""Default of B: matrix products of this size run at full speed."""

LEAST_OF_MODULES = 16
"""Least default of B for a PyTorch module, unless half a minibatch is less."""

MOST_OF_PRIVATE_JOBS = 256
"""Most that is the default of B for a private job, whose minibatches are large."""


def default_microbatch(batch_size: int, *, module: bool, private: bool) -> int:
    """B for a minibatch of N examples, of a PyTorch module or of a private network of layers."""
    quarter = ceil(batch_size / 4)
    wanted = DEFAULT_MICROBATCH
    if module:
        wanted = min(wanted, max(quarter, min(ceil(batch_size / 2), LEAST_OF_MODULES)))
    elif private:
        wanted = min(max(wanted, quarter), MOST_OF_PRIVATE_JOBS)
    return min(batch_size, wanted)
