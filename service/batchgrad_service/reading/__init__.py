"""Read tables and arrays from files of many formats into contents of datasets."""

import os

# pyarrow's own allocator reserves 1 GB at once, which counts against a process's limit of memory.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
