"""Per-example gradient norms inside a training loop that is not batchgrad's."""
