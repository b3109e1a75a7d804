"""Where a step's microbatches are computed; the coordinator knows only `protocol`."""
