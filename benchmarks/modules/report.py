"""TORCH.md: the tables and targets of a run."""

from collections.abc import Mapping

from benchmarks.modules.targets import TARGETS
from benchmarks.modules.workloads import ALL
from benchmarks.report import described, outcome_table
from benchmarks.results import Comparison, Results
from benchmarks.tables import markdown, phases, speeds
from benchmarks.targets import outcomes

REFERENCE = {"alone": "plain", "training": "ours-inline-2"}
TITLES = {
    "alone": "Sums and norms of a minibatch, one thread",
    "training": "Whole steps on two cores: batchgrad's service with everything on",
}
NOTES = {
    "alone": "CPU time. The ratio is a contestant's time to that of a plain backward pass in the "
    "same round. Memory is the peak over what the process held before its first step. "
    "Opacus computes the "
    "untied form of a GPT, with a head of its own and places as an embedding: its ghost clipping "
    "refuses shared parameters, and its hooks see no bare ones.",
    "training": "A step of batchgrad also has every norm and loss in the ledger, two shortcuts by "
    "layer, a stored row and checkpoints; of the peers it is gradient and AdamW, of Opacus clipped "
    "without noise. Memory is the peak of all processes that compute.",
}


def write(results: Results, reasons: Mapping[str, str]) -> str:
    """The text of TORCH.md."""
    parts = [
        "# PyTorch modules",
        "Written by `make bench`; [README.md](README.md) explains how to read it.",
        described(results),
        "## Targets",
        outcome_table(outcomes(results, TARGETS), reasons),
    ]
    for group, title in TITLES.items():
        wanted = [each for each in results.comparisons if each.group == group]
        if wanted:
            parts += [f"## {title}", NOTES[group]]
        for comparison in wanted:
            parts += _comparison(comparison)
    return "\n\n".join(parts) + "\n"


def reference(comparison: Comparison) -> str:
    """The contestant that the others are compared with."""
    wanted = REFERENCE[comparison.group]
    return wanted if wanted in comparison.contestants else next(iter(comparison.contestants))


def _comparison(comparison: Comparison) -> list[str]:
    parts = [
        f"### {ALL[comparison.workload].title}",
        markdown(*speeds(comparison, reference(comparison))),
    ]
    if any(each.bursts[0].phases for each in comparison.contestants.values()):
        parts += ["Milliseconds a step by phase:", markdown(*phases(comparison))]
    return parts
