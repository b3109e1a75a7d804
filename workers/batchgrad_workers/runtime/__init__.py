"""A worker's process: its shard of a step, threads, shared memory, the Ray actor."""
