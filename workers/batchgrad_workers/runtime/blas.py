"""Which of OpenBLAS's kernels multiply; decided before numpy is imported, which loads them."""

import os
import sys
from collections.abc import Container, MutableMapping
from pathlib import Path

CORE_TYPE = "OPENBLAS_CORETYPE"


def choose_kernels(
    environment: MutableMapping[str, str] = os.environ,
    cpu: Path = Path("/proc/cpuinfo"),
    imported: Container[str] = sys.modules,
) -> None:
    """On AMD's Zen 4 take the AVX2 kernels; OpenBLAS itself would take those for AVX-512.

    Zen 4 does AVX-512 in two halves, so nothing is won by it, and the AVX-512 kernels lose 15% of
    x Wᵀ on microbatches of 128 rows (float32, OpenBLAS 0.3.31). Whoever sets OPENBLAS_CORETYPE
    has decided. The choice depends on the CPU alone, so equal hosts compute equal bits.
    """
    if CORE_TYPE in environment or "numpy" in imported or not cpu.exists():
        return
    facts = dict[str, str]()
    for line in cpu.read_text().partition("\n\n")[0].splitlines():
        name, _, fact = line.partition(":")
        facts[name.strip()] = fact.strip()
    amd = facts.get("vendor_id") == "AuthenticAMD" and facts.get("cpu family") == "25"
    if amd and "avx512f" in facts.get("flags", "").split():
        environment[CORE_TYPE] = "Zen"
