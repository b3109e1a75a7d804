"""The contestants and their workloads: each is a separate process or a job of the service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.workloads import LEARNING_RATE, MOMENTUM, Workload

Venv = Literal["own", "peers"]
EVERYWHERE = ("tiny", "medium", "wide", "convnet")


@dataclass(frozen=True)
class Program:
    """A module of `package` that runs as a process and does bursts (see `bursts`)."""

    name: str
    title: str
    module: str
    threads: int = 1
    method: str | None = None
    venv: Venv = "peers"
    workloads: tuple[str, ...] = EVERYWHERE
    package: str = "benchmarks.programs"
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """Its command line arguments after the workload."""
        method = ["--method", self.method] if self.method else []
        return ["--threads", str(self.threads), *method]


@dataclass(frozen=True)
class Ours:
    """A job through the whole service; `settings` are added to its spec.

    With `chooses`, the warm-up starts at the `executor` event: `auto` then keeps its choice.
    """

    name: str
    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    warm_seconds: float = 1.0
    chooses: bool = False
    workloads: tuple[str, ...] = EVERYWHERE


Contestant = Program | Ours

INLINE = {"workers": 0, "threads": 1}

TRAINING: tuple[Contestant, ...] = (
    Ours("ours-auto", "batchgrad, auto", chooses=True),
    Ours("ours-inline-1", "batchgrad, inline, 1 thread", INLINE),
    Ours("ours-inline-2", "batchgrad, inline, 2 threads", {"workers": 0, "threads": 2}),
    Ours("ours-ray-2", "batchgrad, 2 Ray workers", {"workers": 2}),
    Ours("ours-plain-1", "batchgrad, inline, 1 thread, no shortcuts", INLINE | {"shortcuts": []}),
    Program("torch-1", "PyTorch loop, 1 thread", "torch_loop"),
    Program("torch-2", "PyTorch loop, 2 threads", "torch_loop", threads=2),
    Program("ddp-2", "PyTorch DDP (gloo), 2 processes", "torch_ddp"),
    Program("sklearn", "MLPClassifier.partial_fit", "sklearn_mlp", workloads=("tiny",)),
    Program("gemm-1", "bare GEMMs, 1 thread", "numpy_gemms", method="blas", venv="own"),
    Program("gemm-2", "bare GEMMs, 2 BLAS threads", "numpy_gemms", 2, method="blas", venv="own"),
    Program("gemm-halves", "bare GEMMs, 2 threads, half each", "numpy_gemms", 2, "halves", "own"),
)
"""batchgrad with all measurements, through the service; peers compute the mean gradient alone."""

INSTRUMENTS: tuple[Contestant, ...] = tuple(
    Program(f"engine-{method}", title, "own_instruments", method=method, venv="own")
    for method, title in (
        ("none", "sums and norms, reduction, update"),
        ("ledger", "the same with the example ledger"),
        ("statistics", "the same with statistics of norms, and rows"),
        ("shortcuts", "the same with statistics, rows and both shortcuts"),
        ("all", "everything"),
    )
)
"""The engine alone, on one thread, with some of its instruments."""

PER_EXAMPLE: tuple[Contestant, ...] = (
    Program("ours-norms", "batchgrad's worker alone", "own_norms", venv="own"),
    Ours("ours-inline-1", "batchgrad, the whole service, shortcuts on, update", INLINE),
    Program("torch-1", "PyTorch loop: mean gradient alone, update", "torch_loop"),
    Program("backpack-l2", "BackPACK BatchL2Grad", "backpack_norms", method="l2"),
    Program("opacus-ghost", "Opacus ghost norms, one pass", "opacus_norms", method="ghost"),
    Program(
        "opacus-ghost-loop",
        "Opacus ghost clipping, its two passes",
        "opacus_norms",
        method="ghost_loop",
    ),
    Program("backpack-grad", "BackPACK BatchGrad", "backpack_norms", method="grad"),
    Program("opacus-grad", "Opacus grad_sample", "opacus_norms", method="grad_sample"),
    Program("torch-vmap", "torch.func vmap(grad)", "torch_vmap"),
    Program("jax-vmap", "JAX vmap(grad), jitted", "jax_vmap"),
    Program("gemm-1", "bare GEMMs, 1 thread", "numpy_gemms", method="blas", venv="own"),
)
"""The mean gradient and every example's norm, on one thread; no update unless the title says so."""

GROUPS: dict[str, tuple[Contestant, ...]] = {
    "training": TRAINING,
    "instruments": INSTRUMENTS,
    "per-example": PER_EXAMPLE,
}
QUICK = ("ours-auto", "torch-1", "torch-2", "ddp-2", "gemm-1")


def spec(ours: Ours, workload: Workload, dataset: str) -> dict[str, Any]:
    """The job of `ours`: the defaults of a user, changed by its `settings`."""
    return {
        "name": f"bench-{workload.name}",
        "dataset": dataset,
        "model": {"layers": list(workload.layers)},
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": LEARNING_RATE, "momentum": MOMENTUM},
        "batch_size": workload.batch_size,
        "steps": 10**7,  # it is cancelled long before
        **ours.settings,
    }
