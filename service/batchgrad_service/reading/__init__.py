"""Read tables and arrays from files of many formats into contents of datasets."""

import ctypes
import os

# pyarrow's own allocator reserves 1 GB at once, which counts against a process's limit of memory.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

# pyarrow's CSV reader allocates a whole block for each column and gives back what it does not
# need. glibc returns that to the system only for allocations above M_MMAP_THRESHOLD (-3), which it
# otherwise raises by itself: then 1000 columns keep 1 GB.
if hasattr(libc := ctypes.CDLL(None), "mallopt"):
    libc.mallopt(-3, 2**17)
