"""`select_blas_kernels`: which OpenBLAS kernels are selected on which CPU."""

import os
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

import pytest

from batchgrad_workers.runtime.blas import CORE_TYPE, select_blas_kernels
from batchgrad_workers.runtime.build_info import build_info

ZEN_4 = (
    "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nflags\t\t: fma avx2 avx512f\n\n"
)
OTHERS = {
    "zen 3": ZEN_4.replace(" avx512f", ""),
    "zen 5": ZEN_4.replace(": 25", ": 26"),
    "intel": ZEN_4.replace("AuthenticAMD", "GenuineIntel"),
    "arm": "processor\t: 0\nFeatures\t: fp asimd\n\n",
}


def chosen(
    tmp_path: Path,
    text: str,
    environment: dict[str, str] | None = None,
    imported: Container[str] = (),
) -> str | None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(text * 2)
    environment = {} if environment is None else environment
    select_blas_kernels(environment, cpu, imported)
    return environment.get(CORE_TYPE)


def test_zen_4_takes_the_avx2_kernels(tmp_path: Path) -> None:
    assert chosen(tmp_path, ZEN_4) == "Zen"


@pytest.mark.parametrize("cpu", OTHERS)
def test_openblas_decides_on_every_other_cpu(tmp_path: Path, cpu: str) -> None:
    assert chosen(tmp_path, OTHERS[cpu]) is None


def test_the_users_choice_stands(tmp_path: Path) -> None:
    assert chosen(tmp_path, ZEN_4, {CORE_TYPE: "Haswell"}) == "Haswell"


def test_nothing_is_set_once_numpy_is_imported(tmp_path: Path) -> None:
    assert chosen(tmp_path, ZEN_4, imported={"numpy"}) is None


def test_without_cpuinfo_openblas_decides(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    select_blas_kernels(environment, tmp_path / "missing", ())
    assert environment == {}


def test_tests_and_engines_compute_with_the_same_kernels() -> None:
    """An engine is a process of its own; a worker imports the package before numpy too.

    A choice that the user made outside of this run is left in the environment.
    """
    code = "from batchgrad_workers.runtime import build_info as b"
    code += "; print(b.build_info()['architecture'])"
    environment = {name: value for name, value in os.environ.items() if name != CORE_TYPE}
    own = dict(environment)
    select_blas_kernels(own, imported=())
    if own.get(CORE_TYPE) != os.environ.get(CORE_TYPE):
        environment = dict(os.environ)
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == build_info()["architecture"]
