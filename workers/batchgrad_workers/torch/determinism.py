"""What makes torch's results the same bits in each process: threads, algorithms, aligned memory."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.torch.environment import SETTINGS, set_environment

ALIGNMENT = 64
"""Bytes: a vector of AVX-512, and a line of cache."""

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


def aligned(layout: Mapping[str, Shape], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Tensors of zeros of these shapes, each in memory of its own that begins at 64 bytes.

    Products of matrices may have other bits at other addresses, so parameters are never views of
    one vector.
    """
    return {name: _aligned(shape, dtype) for name, shape in layout.items()}


def _aligned(shape: Shape, dtype: torch.dtype) -> Tensor:
    size = int(np.prod(shape, dtype=np.int64))
    width = ALIGNMENT // dtype.itemsize
    memory = torch.zeros(size + width, dtype=dtype)
    start = -memory.data_ptr() % ALIGNMENT // dtype.itemsize
    return memory[start : start + size].view(shape)


def fill(tensors: Mapping[str, Tensor], flat: Array) -> None:
    """Copy the vector θ (P,) into tensors, in their order.

    Raises:
        ValueError: θ has another length than the tensors together.
    """
    size = sum(tensor.numel() for tensor in tensors.values())
    if flat.shape != (size,):
        raise ValueError(f"θ has shape {flat.shape}; expected ({size},), as the tensors have.")
    start = 0
    with torch.no_grad():
        for tensor in tensors.values():
            part = flat[start : start + tensor.numel()]
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(part)).view(tensor.shape))
            start += tensor.numel()


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
