"""One step after another: the coordinator, optimizers, schedules, early stopping."""
