"""The speed targets of PyTorch modules."""

from pathlib import Path

from benchmarks.modules.workloads import WORKLOADS
from benchmarks.targets import Target

REASONS = Path(__file__).parent / "reasons.toml"


def _alone(workload: str, wanted: float) -> list[Target]:
    """Time to plain backward passes of a worker alone: its speed is at least 1 / wanted."""
    return [
        Target(
            f"{workload}-{name.removeprefix('ours-')}",
            f"{workload}, worker alone, {what}: at most {wanted}× a plain backward pass",
            workload,
            "plain",
            (name,),
            wanted,
            group="alone",
            at_most=True,
        )
        for name, what in (
            ("ours-norms", "sum + norms"),
            ("ours-means", "+ means"),
            ("ours-clipped", "clipped"),
        )
    ]


def _service(workload: str, other: str, words: str) -> list[Target]:
    """The faster of the service's two executors counts: which one is a setting."""
    return [
        Target(
            f"{workload}-{name.removeprefix('ours-')}-{other}",
            f"{workload}, whole service, {what}: as fast as {words}",
            workload,
            name,
            (other,),
            1,
        )
        for name, what in (("ours-inline-2", "2 threads"), ("ours-ray-2", "2 workers"))
    ]


TARGETS: tuple[Target, ...] = (
    *_alone("gpt-128", 1.3),
    *_alone("gpt-256", 1.3),
    *_alone("mlp", 1.4),
    *_alone("conv", 1.4),
    *(
        target
        for workload in WORKLOADS
        for target in _service(workload, "opacus-ghost-2", "Opacus ghost clipping")
    ),
    *_service("gpt-128", "ddp-2", "DDP in two processes"),
    *_service("gpt-256", "ddp-2", "DDP in two processes"),
)
