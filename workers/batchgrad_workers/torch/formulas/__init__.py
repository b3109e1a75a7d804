"""Per-example gradients of the parameters of torch calls, by the kind of call."""
