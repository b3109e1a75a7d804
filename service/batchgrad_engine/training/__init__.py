"""Training: the coordinator of a step, optimizers, schedules, validation, early stopping."""
