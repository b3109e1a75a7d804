"""What decides the bits besides the job: numpy's build, numba's, and the CPU's kernels."""

import platform
from typing import Any

import numba
import numpy as np
from threadpoolctl import threadpool_info


def build() -> dict[str, str]:
    """Versions, and the kernels that BLAS chose for this CPU: equal means equal bits."""
    infos: list[dict[str, Any]] = threadpool_info()
    of_numpy = [i for i in infos if i["user_api"] == "blas" and "numpy" in i["filepath"]]
    blas = (of_numpy or [i for i in infos if i["user_api"] == "blas"] or [{}])[0]
    return {
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
        "blas": f"{blas.get('internal_api', 'unknown')} {blas.get('version', '')}".strip(),
        "architecture": str(blas.get("architecture", platform.machine())),
    }
