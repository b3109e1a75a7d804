"""Settings that give torch's results the same bits in each process, and a record of them."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from batchgrad_workers.torch.environment import SETTINGS, set_environment

FUNCTIONS = (
    "exp expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh erf erfc "
    "erfinv lgamma sigmoid"
)
"""Functions of torch that MKL's vector functions may compute."""


def prepare_process() -> list[str]:
    """Choose deterministic algorithms on one thread, and make the first calls of MKL's functions.

    To be called in one thread, before any other computes: MKL's vector functions choose their code
    at their first call, in which two threads would race. Returns the environment variables that
    were set too late for this process, which must be empty wherever bits shall be the same.
    """
    late = set_environment()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    _warm_up()
    return late


def _warm_up() -> None:
    """One call of each function that MKL computes on vectors or matrices."""
    for dtype in (torch.float32, torch.float64):
        numbers = torch.linspace(0.1, 0.9, 256, dtype=dtype)
        for function in FUNCTIONS.split():
            getattr(torch, function)(numbers)
        matrix = numbers.reshape(16, 16)
        torch.mm(matrix, matrix)
        torch.bmm(matrix[None], matrix[None])


def torch_build_info() -> dict[str, str]:
    """Versions, settings and kinds of CPU and GPU that decide bits; equal: equal bits."""
    mkldnn: Any = torch.backends.mkldnn
    info = {
        "torch": torch.__version__,
        "torch cpu": f"{torch.backends.cpu.get_cpu_capability()} of {platform.machine()}",
        "torch blas": _blas(),
        "onednn": "on" if mkldnn.is_available() and mkldnn.enabled else "off",
        "torch threads": str(torch.get_num_threads()),
        "torch algorithms": "deterministic"
        if torch.are_deterministic_algorithms_enabled()
        else "any",
    }
    for name in (*SETTINGS, "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        if name in os.environ:
            info[name] = os.environ[name]
    if torch.cuda.is_available():
        info |= {
            "gpu": torch.cuda.get_device_name(),
            "gpu driver": _driver(),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
        }
    return info


def _blas() -> str:
    """Name and version of the library for products, from torch's description of its build."""
    for line in torch.__config__.show().splitlines():
        if "Math Kernel Library" in line:
            return "MKL " + line.partition("Version ")[2].partition(" for ")[0]
    return next(
        (
            part.partition("=")[2]
            for part in torch.__config__.show().replace(",", " ").split()
            if part.startswith("BLAS_INFO=")
        ),
        "unknown",
    )


def _driver() -> str:
    """The version of NVIDIA's driver, as its kernel module gives it."""
    words = Path("/proc/driver/nvidia/version").read_text().split()
    return next((word for word in words if word[0].isdigit() and "." in word), "unknown")
