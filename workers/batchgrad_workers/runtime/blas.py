"""Select OpenBLAS's kernels, before numpy is imported and loads them."""

import os
import sys
from collections.abc import Container, MutableMapping
from pathlib import Path

CORE_TYPE = "OPENBLAS_CORETYPE"


def select_blas_kernels(
    environment: MutableMapping[str, str] = os.environ,
    cpu: Path = Path("/proc/cpuinfo"),
    imported: Container[str] = sys.modules,
) -> None:
    """On AMD Zen 4, select the AVX2 kernels; OpenBLAS itself would select those for AVX-512.

    Zen 4 executes AVX-512 in two halves, without a gain, and the AVX-512 kernels are 15% slower
    for x Wᵀ on microbatches of 128 rows (float32, OpenBLAS 0.3.31). A value that the environment
    has for OPENBLAS_CORETYPE stays. The choice depends on the CPU alone, so equal hosts compute
    equal bits.
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
