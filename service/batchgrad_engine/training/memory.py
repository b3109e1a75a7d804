"""The memory that a job takes, from shapes alone."""

from math import prod

import numpy as np

from batchgrad.contract import JobSpec
from batchgrad_workers.nn.network import Network

VECTORS = 9
"""Arrays of P numbers that an engine holds: θ twice and the best, G, sums, means, optimizer."""


def job_bytes(spec: JobSpec, network: Network, means: int = 0) -> int:
    """What a job's engine holds at least, with one thread; `means` numbers are averaged a step."""
    numbers = VECTORS * (network.size + means) + microbatch_numbers(network, spec.microbatch)
    return np.dtype(spec.precision).itemsize * numbers


def microbatch_numbers(network: Network, rows: int) -> int:
    """Numbers that a microbatch of so many examples holds at once.

    Every layer's outputs and the errors at them, and the largest workspace of a layer.
    """
    return 2 * rows * outputs_size(network) + workspace_size(network)


def outputs_size(network: Network) -> int:
    """Numbers that all layers put out for one example."""
    return sum(prod(layer.output_shape) for layer in network.layers)


def workspace_size(network: Network) -> int:
    """Numbers in the largest workspace of a layer."""
    return max(layer.workspace for layer in network.layers)
