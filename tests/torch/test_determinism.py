"""The same microbatch has the same bits on each thread, from any address, in any process."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch import determinism
from batchgrad_workers.torch.determinism import torch_build_info
from batchgrad_workers.torch.environment import SETTINGS, set_environment
from batchgrad_workers.torch.replica import Batch, Replica


class Network(nn.Module):  # type: ignore[misc]
    """Products and sums whose bits follow from threads, and some that follow from addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(784, 10)
        self.wide = nn.Sequential(nn.Linear(784, 1024), nn.GELU(), nn.LayerNorm(1024))
        self.conv = nn.Conv2d(1, 4, 5)
        self.scale = nn.Parameter(torch.ones(1))
        self.last = nn.Linear(1024 + 4, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        images = self.conv(inputs.view(-1, 1, 28, 28))
        pooled = (images * self.scale).tanh().mean((2, 3))
        return self.narrow(inputs) + self.last(torch.cat([self.wide(inputs), pooled], 1))


def bits(theta: Any) -> str:
    """The hash of a microbatch's losses and summed gradients, of two sizes."""
    task = Task(
        Network(),
        lambda module, batch: module(batch["inputs"]),
        lambda outputs, batch: functional.cross_entropy(
            outputs, batch["targets"], reduction="none"
        ),
    )
    replica = Replica(task)
    parts = torch.from_numpy(theta).split([each.numel() for each in replica.trainable.values()])
    tensors = {
        name: torch.empty(each.shape).copy_(part.view(each.shape))
        for (name, each), part in zip(replica.trainable.items(), parts, strict=True)
    }
    replica.load(tensors)
    random = torch.Generator().manual_seed(2)
    found = sha256()
    for n in (1, 64):
        inputs, targets = torch.randn(n, 784, generator=random), torch.arange(n) % 10
        losses = replica.losses(Batch({"inputs": inputs, "targets": targets}, torch.ones(n)))
        gradients = torch.autograd.grad(losses.sum(), list(replica.trainable.values()))
        for each in (losses.detach(), *gradients):
            found.update(each.contiguous().numpy().tobytes())
    return found.hexdigest()


def parameters() -> Any:
    size = sum(each.numel() for each in Network().parameters())
    return np.random.default_rng(1).standard_normal(size).astype(np.float32) / 20


def shifted(theta: Any, numbers: int) -> Any:
    """The same numbers at another address."""
    memory = np.empty(len(theta) + numbers, np.float32)
    memory[numbers:] = theta
    return memory[numbers:]


def work() -> None:
    """Another computation, which leaves memory and caches as it likes."""
    kept = [torch.randn(k, 33) @ torch.randn(33, k) for k in (7, 64, 513)]
    nn.LSTM(5, 9)(torch.randn(11, 2, 5))[0].sum().backward()
    del kept[1]


def report() -> None:
    """What a fresh process finds; printed."""
    late = determinism.prepare_process()
    theta = parameters()
    found = {f"at {numbers}": bits(shifted(theta, numbers)) for numbers in range(16)}
    for threads in (1, 2, 4):
        with ThreadPoolExecutor(threads) as pool:
            each = list(pool.map(lambda _: bits(theta), range(2 * threads)))
        found |= {f"thread {n} of {threads}": one for n, one in enumerate(each)}
    work()
    found["after other work"] = bits(theta)
    print(json.dumps({"late": late, "bits": found, "info": torch_build_info()}))  # noqa: T201


def fresh(start: str, **environment: str) -> Any:
    """What `report` prints in a new process, which begins with `start`."""
    folder = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); {start}; import test_determinism as test; "
    kept = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    command = [sys.executable, "-c", code + "test.report()"]
    found = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(found.stdout)


BEGIN = (
    "from batchgrad_workers.torch import environment; assert environment.set_environment() == []"
)


def test_bits_are_the_same_on_threads_at_addresses_and_in_processes() -> None:
    first, second = fresh(BEGIN), fresh(BEGIN, OMP_NUM_THREADS="3", MKL_NUM_THREADS="3")
    found = {**first["bits"], **{f"second {key}": one for key, one in second["bits"].items()}}
    assert len(found) == 2 * (16 + 14 + 1)
    assert len(set(found.values())) == 1, found
    assert first["late"] == second["late"] == []


def test_the_build_says_what_decides_bits() -> None:
    info = fresh(BEGIN, ATEN_CPU_CAPABILITY="default")["info"]
    assert info["torch"] == torch.__version__
    assert info["torch cpu"].startswith(("DEFAULT", "NO AVX"))
    assert info["MKL_CBWR"] == "AUTO,STRICT"
    assert info["ATEN_CPU_CAPABILITY"] == "default"
    assert info["torch threads"] == "1"
    assert info["torch algorithms"] == "deterministic"
    assert info["onednn"] in {"on", "off"}
    assert all(isinstance(each, str) for each in info.values())
    assert torch_build_info()["torch blas"]


def test_variables_that_come_after_torch_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert set_environment() == ["MKL_CBWR", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG"]
    assert os.environ["MKL_CBWR"] == "AUTO,STRICT"
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert set_environment() == []


def test_tensors_of_torch_begin_at_64_bytes() -> None:
    """As θ's do: products of matrices may have other bits at other addresses."""
    for dtype in (torch.float32, torch.float64):
        kept = [torch.empty(shape, dtype=dtype) for shape in ((3,), (), (5, 7), (1,)) * 20]
        assert all(each.data_ptr() % 64 == 0 for each in kept)
