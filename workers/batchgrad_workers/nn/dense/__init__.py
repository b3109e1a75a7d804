"""Dense networks, linear layers with or without ReLU, compiled: a microbatch without the GIL."""

from batchgrad_workers.nn.dense.network import DenseNetwork

__all__ = ["DenseNetwork"]
