"""Dense networks, linear layers with or without ReLU, compiled: a microbatch without the GIL."""

from batchgrad_workers.nn.dense.network import DenseNetwork
from batchgrad_workers.nn.dense.pairs import padded_rows

__all__ = ["DenseNetwork", "padded_rows"]
