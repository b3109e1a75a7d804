"""The machine and the library versions of a run."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """CPU model, cores available to this process, memory, load, operating system."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    total = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": ", ".join(sorted(models)) or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(total) * 1024,
        "load_at_start": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of batchgrad's dependencies."""
    own = ("batchgrad", "numpy", "ray")
    return {"python": platform.python_version()} | {name: version(name) for name in own}
