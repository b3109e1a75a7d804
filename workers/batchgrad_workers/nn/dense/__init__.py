"""Dense networks, linear layers with or without ReLU, compiled: a microbatch without the GIL."""

from batchgrad_workers.nn.dense.network import DenseNetwork
from batchgrad_workers.nn.dense.pairs import padding

__all__ = ["DenseNetwork", "padding"]
