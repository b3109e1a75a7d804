"""The contestants of PyTorch modules: each is a separate process or a job of the service."""

from collections.abc import Mapping
from typing import Any

from batchgrad_workers.torch.environment import SETTINGS
from benchmarks.contestants import Contestant, Ours, Program
from benchmarks.modules.workloads import LEARNING_RATE, ModuleWorkload

PACKAGE = "benchmarks.modules.programs"
KEPT: Mapping[str, str] = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
"""glibc then keeps what a step frees for the next step, as batchgrad's workers have it."""

PASSIVE: Mapping[str, str] = {"OMP_WAIT_POLICY": "passive"}
"""Threads of PyTorch sleep while they wait for each other: on a busy machine, ones that spin wait
for one that has no core, and a step of the GPT took 5 s.
"""


def _peer(
    name: str, title: str, module: str, method: str | None = None, threads: int = 1
) -> Program:
    environment = KEPT if threads == 1 else {**KEPT, **PASSIVE}
    return Program(name, title, module, threads, method, package=PACKAGE, environment=environment)


def _own(name: str, title: str, method: str) -> Program:
    return Program(name, title, "ours", 1, method, "own", package=PACKAGE, environment=SETTINGS)


ALONE: tuple[Contestant, ...] = (
    _peer("plain", "PyTorch: loss.mean().backward()", "plain", "backward"),
    Program("plain-default", "the same, with malloc's own settings", "plain", package=PACKAGE),
    _own("ours-norms", "batchgrad: sum and norms", "norms"),
    _own("ours-means", "batchgrad: and mean inputs and errors", "means"),
    _own("ours-clipped", "batchgrad: clipped sum and norms", "clipped"),
    _peer("opacus-grad", "Opacus grad_sample", "opacus", "grad_sample"),
    _peer("opacus-ghost", "Opacus ghost clipping", "opacus", "ghost"),
    _peer("vmap", "torch.func vmap(grad)", "vmap"),
    _peer("loop", "PyTorch, a backward pass for each example", "plain", "loop"),
)
"""Sums and norms without an update, on one thread."""

TRAINING: tuple[Contestant, ...] = (
    _peer("plain-2", "PyTorch with AdamW, 2 threads", "plain", "train", 2),
    _peer("ddp-2", "PyTorch DDP (gloo) with AdamW, 2 processes", "ddp"),
    _peer("opacus-ghost-2", "Opacus ghost clipping with AdamW, 2 threads", "opacus", "train", 2),
    Ours("ours-inline-2", "batchgrad, inline, 2 threads", {"workers": 0, "threads": 2}),
    Ours("ours-ray-2", "batchgrad, 2 Ray workers", {"workers": 2}),
)
"""Whole steps: of batchgrad's service with everything on."""

GROUPS: dict[str, tuple[Contestant, ...]] = {"alone": ALONE, "training": TRAINING}
QUICK: dict[str, tuple[str, ...]] = {
    "alone": ("plain", "ours-norms", "opacus-ghost"),
    "training": ("plain-2", "ours-inline-2"),
}
QUICK_WORKLOADS = ("gpt-128", "mlp")


def spec(ours: Ours, workload: ModuleWorkload, dataset: str) -> dict[str, Any]:
    """The job of `ours`: a user's defaults, but two microbatches, so that both cores have work."""
    return {
        "name": f"bench-{workload.name}",
        "dataset": dataset,
        "model": {
            "torch": "benchmarks.modules.tasks:build",
            "config": {"workload": workload.name},
        },
        "optimizer": {"kind": "adamw", "learning_rate": LEARNING_RATE},
        "batch_size": workload.batch_size,
        "microbatch_size": workload.batch_size // 2,
        "steps": 10**7,  # it is cancelled long before
        **ours.settings,
    }
