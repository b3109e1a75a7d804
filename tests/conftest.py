import batchgrad_workers  # noqa: F401  # before numpy: engines and tests shall compute equal bits
