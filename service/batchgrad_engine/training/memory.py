"""Estimate the memory of a job from shapes alone."""

from math import prod

import numpy as np

from batchgrad.contract import JobSpec
from batchgrad_workers.nn.dense import DenseNetwork
from batchgrad_workers.nn.network import Network

VECTORS = 9
"""Arrays of P numbers in an engine: θ twice and the best θ, G, sums, means, optimizer state."""


def job_bytes(spec: JobSpec, network: Network, means: int = 0) -> int:
    """Least memory of a job's engine with one thread; each step averages `means` numbers."""
    at_once = 2 if DenseNetwork.of(network, None) else 1  # microbatches
    rows = at_once * spec.microbatch
    numbers = VECTORS * (network.size + means) + microbatch_numbers(network, rows)
    return np.dtype(spec.precision).itemsize * numbers


def microbatch_numbers(network: Network, rows: int) -> int:
    """Numbers that a microbatch of `rows` examples needs at once.

    These are the inputs (of a table, encoded), every layer's outputs, the errors at them, and the
    largest workspace of a layer.
    """
    inputs = prod(network.input_shape)
    return rows * (inputs + 2 * outputs_size(network)) + workspace_size(network)


def outputs_size(network: Network) -> int:
    """Numbers in the outputs of all layers, for one example."""
    return sum(prod(layer.output_shape) for layer in network.layers)


def workspace_size(network: Network) -> int:
    """Numbers in the largest workspace of a layer."""
    return max(layer.workspace for layer in network.layers)
