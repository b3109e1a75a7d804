"""Environment variables that decide the bits of torch's results; they must be set before it loads.

This module imports no torch.
"""

import os
import sys

SETTINGS = {
    "MKL_CBWR": "AUTO,STRICT",  # the same bits wherever in memory the numbers of a product lie
    "OMP_NUM_THREADS": "1",  # a sum's order follows from the number of threads that share it
    "MKL_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # the deterministic products of a GPU
}


def set_environment() -> list[str]:
    """Set what is not set, for this process and its children; returns what came too late here.

    A variable comes too late if torch, which reads them as it loads, has loaded before. A value
    that someone else set stays: it is recorded in `torch_build_info`.
    """
    missing = [name for name in SETTINGS if name not in os.environ]
    os.environ.update({name: SETTINGS[name] for name in missing})
    return missing if "torch" in sys.modules else []
