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
MATERIALISING = ("opacus-grad", "backpack-grad", "torch-vmap", "jax-vmap")
AS_FAST_WITHIN_10 = 1 / 1.1


def _training(
    workload: str, other: str, words: str, others: tuple[str, ...], wanted: float,
    name: str = "ours-auto",
) -> Target:  # fmt: skip
    return Target(f"{workload}-{other}", f"{workload}, {words}", workload, name, others, wanted)


def _norms(workload: str, other: str, words: str, wanted: float) -> list[Target]:
    """The same target for the whole service and for a worker alone, which does what peers do."""
    others = MATERIALISING if other == "materialising" else (other,)
    return [
        Target(
            f"{workload}-{name}-{other}", f"{workload}, mean + norms: {words}; {what}", workload,
            name, others, wanted, group="per-example",
        )
        for name, what in (("ours-inline-1", "whole service"), ("ours-norms", "worker alone"))
    ]  # fmt: skip


TARGETS: tuple[Target, ...] = (
    _training("wide", "torch", "auto: as fast as PyTorch's best", TORCH, 1),
    _training("wide", "ddp", "auto: 1.25× DDP", ("ddp-2",), 1.25),
    _training("wide", "ray", "2 Ray workers: 1.1× DDP", ("ddp-2",), 1.1, "ours-ray-2"),
    _training("medium", "torch", "auto: as fast as PyTorch's best", TORCH, 1),
    _training("medium", "ddp", "auto: 1.5× DDP", ("ddp-2",), 1.5),
    _training("tiny", "torch", "auto: 2.5× PyTorch's best", TORCH, 2.5),
    _training("tiny", "ddp", "auto: 6× DDP", ("ddp-2",), 6),
    _training("tiny", "sklearn", "auto: as fast as MLPClassifier.partial_fit", ("sklearn",), 1),
    *(
        _training(
            workload, "bare", f"everything on: {part:.0%} of the bare products on one thread",
            ("gemm-1",), part, "ours-inline-1",
        )
        for workload, part in (("wide", 0.85), ("convnet", 0.9))
    ),
    *(
        _training(
            workload, "threads", "two threads 1.7× one", ("ours-inline-1",), 1.7, "ours-inline-2"
        )
        for workload in ("wide", "medium", "convnet")
    ),
    Target(
        "wide-everything", "wide, everything on costs at most 1.15× the step without shortcuts",
        "wide", "ours-plain-1", ("ours-inline-1",), 1.15, at_most=True,
    ),
    *_norms("wide", "gemm-1", "85% of the bare products", 0.85),
    *_norms("wide", "opacus-ghost", "as fast as Opacus ghost, one pass", 1),
    *_norms("wide", "opacus-ghost-loop", "1.5× Opacus ghost, its two passes", 1.5),
    *_norms("wide", "backpack-l2", "within 10% of BackPACK BatchL2Grad", AS_FAST_WITHIN_10),
    *_norms("convnet", "gemm-1", "90% of the bare products", 0.9),
    *_norms("convnet", "materialising", "1.5× the fastest that forms every gradient", 1.5),
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
