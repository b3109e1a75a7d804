"""Per-example gradients, and their sums by the canonical tree; only `runtime.actor` needs Ray."""

from batchgrad_workers.runtime.blas import select_blas_kernels

select_blas_kernels()  # before any module of this package imports numpy
