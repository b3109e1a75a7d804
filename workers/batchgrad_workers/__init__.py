"""Per-example gradients, their sums and the canonical tree; Ray only in `worker`."""

from batchgrad_workers.runtime.blas import choose_kernels

choose_kernels()  # before any module of this package imports numpy
