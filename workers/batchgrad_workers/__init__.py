"""Per-example gradients, their sums and the canonical tree; Ray only in `worker`."""

from batchgrad_workers.kernels import choose_kernels

choose_kernels()  # before any module of this package imports numpy
