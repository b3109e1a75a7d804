"""Estimate the memory of a job from shapes alone."""

from math import prod

import numpy as np

from batchgrad.contract import JobSpec
from batchgrad_workers.nn.dense import DenseNetwork
from batchgrad_workers.nn.kernels.norms import RUN
from batchgrad_workers.nn.network import Network

VECTORS = 9
"""Arrays of P numbers in an engine: θ twice and the best θ, G, sums, means, optimizer state."""


def job_bytes(spec: JobSpec, network: Network, means: int = 0) -> int:
    """Least memory of a job's engine with one thread; each step averages `means` numbers."""
    rows = spec.microbatch * (2 if _may_pair(spec, network) else 1)
    numbers = VECTORS * (network.size + means) + microbatch_numbers(network, rows)
    return np.dtype(spec.precision).itemsize * numbers


def _may_pair(spec: JobSpec, network: Network) -> bool:
    """Whether workers may compute two microbatches at once."""
    size = spec.microbatch
    several = spec.batch_size == "full" or spec.batch_size >= 2 * size
    plain = spec.privacy is None and spec.sums == "full"
    return plain and several and size < 2 * RUN and DenseNetwork.of(network, None) is not None


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
