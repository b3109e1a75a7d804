"""Networks, losses and their per-example gradients, as functions of arrays."""
