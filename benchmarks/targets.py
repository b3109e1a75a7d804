"""The project's speed targets, and whether a run meets them."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Results
from benchmarks.statistics import Spread, fastest, times_as_fast

REASONS = Path(__file__).parent / "reasons.toml"


@dataclass(frozen=True)
class Target:
    """`name` must be at least `wanted` times as fast as the fastest of `others`.

    With `at_most`, `name` may be at most `wanted` times as fast. If the target is missed,
    reasons.toml explains it under `key`.
    """

    key: str
    words: str
    workload: str
    name: str
    others: tuple[str, ...]
    wanted: float
    group: str = "training"
    at_most: bool = False


@dataclass(frozen=True)
class Outcome:
    """A target and the measured ratio; its median over the rounds counts."""

    target: Target
    measured: Spread
    other: str

    @property
    def met(self) -> bool:
        """Whether the median meets the target."""
        if self.target.at_most:
            return self.measured.median <= self.target.wanted
        return self.measured.median >= self.target.wanted

    @property
    def missed_by(self) -> float:
        """Distance of the median from the target, as a fraction of the target; 0 if it is met."""
        return 0.0 if self.met else abs(self.measured.median / self.target.wanted - 1)


TORCH = ("torch-1", "torch-2")
AS_FAST_WITHIN_10 = 1 / 1.1


def _norms(workload: str, other: str, words: str, wanted: float) -> list[Target]:
    """The same target for the whole service and for a worker alone, which does what peers do."""
    return [
        Target(
            f"{workload}-{name}-{other}", f"{words}; {what}", workload, name, (other,), wanted,
            group="per-example",
        )
        for name, what in (("ours-inline-1", "whole service"), ("ours-norms", "worker alone"))
    ]  # fmt: skip


TARGETS: tuple[Target, ...] = (
    Target(
        "wide-torch", "wide, auto: as fast as PyTorch on all cores", "wide", "ours-auto",
        ("torch-2",), 1,
    ),
    Target("wide-ddp", "wide, auto: 1.25× DDP", "wide", "ours-auto", ("ddp-2",), 1.25),
    Target("wide-ray", "wide, 2 Ray workers: 1.1× DDP", "wide", "ours-ray-2", ("ddp-2",), 1.1),
    Target(
        "medium-torch", "medium, auto: as fast as the faster of PyTorch's 1 and 2 threads",
        "medium", "ours-auto", TORCH, 1,
    ),
    Target("medium-ddp", "medium, auto: 1.5× DDP", "medium", "ours-auto", ("ddp-2",), 1.5),
    Target("tiny-torch", "tiny, auto: 2× a PyTorch loop", "tiny", "ours-auto", TORCH, 2),
    Target("tiny-ddp", "tiny, auto: 6× DDP", "tiny", "ours-auto", ("ddp-2",), 6),
    Target(
        "tiny-sklearn", "tiny, auto: as fast as MLPClassifier.partial_fit", "tiny", "ours-auto",
        ("sklearn",), 1,
    ),
    Target(
        "wide-everything", "wide: everything on costs at most 1.15× the step without shortcuts",
        "wide", "ours-plain-1", ("ours-inline-1",), 1.15, at_most=True,
    ),
    Target(
        "wide-gemm", "wide: without shortcuts, 85% of bare GEMMs on one thread", "wide",
        "ours-plain-1", ("gemm-1",), 0.85,
    ),
    Target(
        "wide-threads", "wide: two threads 1.6× one", "wide", "ours-inline-2", ("ours-inline-1",),
        1.6,
    ),
    *_norms("wide", "opacus-grad", "wide, mean + norms: 100× Opacus grad_sample", 100),
    *_norms("wide", "torch-vmap", "wide, mean + norms: 100× torch.func vmap", 100),
    *_norms("wide", "jax-vmap", "wide, mean + norms: 100× JAX vmap", 100),
    *_norms("wide", "opacus-ghost", "wide, mean + norms: 1.5× Opacus ghost, one pass", 1.5),
    *_norms(
        "wide", "opacus-ghost-loop", "wide, mean + norms: 1.5× Opacus ghost, its two passes", 1.5,
    ),
    *_norms(
        "wide", "backpack-l2", "wide, mean + norms: within 10% of BackPACK BatchL2Grad",
        AS_FAST_WITHIN_10,
    ),
    *_norms("convnet", "opacus-grad", "convnet, mean + norms: 10× Opacus grad_sample", 10),
    *_norms("convnet", "backpack-grad", "convnet, mean + norms: 10× BackPACK BatchGrad", 10),
    *_norms("convnet", "torch-vmap", "convnet, mean + norms: 10× torch.func vmap", 10),
    *_norms("convnet", "jax-vmap", "convnet, mean + norms: 10× JAX vmap", 10),
)  # fmt: skip


def outcomes(results: Results, targets: Sequence[Target] = TARGETS) -> list[Outcome]:
    """Outcomes of the targets whose contestants were run."""
    found: list[Outcome] = []
    for target in targets:
        comparison = results.find(target.workload, target.group)
        if comparison is None or not {target.name, *target.others} <= set(comparison.contestants):
            continue
        other = fastest(comparison, target.others)
        found.append(Outcome(target, times_as_fast(comparison, target.name, other), other))
    return found


def reasons(path: Path = REASONS, targets: Sequence[Target] = TARGETS) -> Mapping[str, str]:
    """Reasons why targets are missed, by the target's key; written by hand.

    Raises:
        ValueError: a key does not belong to any target.
    """
    found: dict[str, str] = tomllib.loads(path.read_text())
    unknown = sorted(set(found) - {target.key for target in targets})
    if unknown:
        raise ValueError(f"{path.name} explains {', '.join(unknown)}: no target has that key.")
    return found
