"""Per-example gradients, their sums and the canonical tree; Ray only in `worker`."""
