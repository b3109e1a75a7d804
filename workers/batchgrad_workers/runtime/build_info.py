"""The software and hardware that determine bits: library versions, BLAS kernels, CPU features."""

import platform
from hashlib import sha256
from typing import Any

import numba
import numpy as np
from llvmlite import binding
from threadpoolctl import threadpool_info

from batchgrad_workers.nn.dense import products


def build_info() -> dict[str, str]:
    """Library versions, BLAS kernels and the CPU that loops are compiled for; equal: equal bits."""
    infos: list[dict[str, Any]] = threadpool_info()
    of_numpy = [i for i in infos if i["user_api"] == "blas" and "numpy" in i["filepath"]]
    blas = (of_numpy or [i for i in infos if i["user_api"] == "blas"] or [{}])[0]
    chosen: Any = numba.config
    name = f"{blas.get('internal_api', 'unknown')} {blas.get('version', '')}".strip()
    cpu = chosen.CPU_NAME or binding.get_host_cpu_name()
    features = chosen.CPU_FEATURES
    if features is None:
        features = binding.get_host_cpu_features().flatten()
    return {
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
        "blas": name if products.AVAILABLE else f"{name}, not in compiled code",
        "architecture": str(blas.get("architecture", platform.machine())),
        "cpu": f"{cpu}, features {sha256(features.encode()).hexdigest()[:8]}",
    }
