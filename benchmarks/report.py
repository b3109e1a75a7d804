"""RESULTS.md: the text, tables and targets of a benchmark run."""

from collections.abc import Mapping
from typing import Any

from benchmarks.results import Comparison, Results
from benchmarks.statistics import Spread, fastest, step_seconds, times_as_fast
from benchmarks.tables import figure, markdown, phases, speeds, spread
from benchmarks.targets import Outcome, outcomes
from benchmarks.workloads import WORKLOADS

REFERENCE = {
    "training": "ours-auto",
    "instruments": "engine-none",
    "per-example": "ours-norms",
}
GROUP_TITLES = {
    "training": "Training: batchgrad's whole service with all measurements, peers without them",
    "instruments": "What each instrument costs: batchgrad's engine alone, one thread",
    "per-example": "The mean gradient and every example's norm, one thread",
}
BUSY = 0.5


def write(results: Results, reasons: Mapping[str, str]) -> str:
    """The text of RESULTS.md."""
    parts = [
        "# Results",
        "Written by `make bench`; [README.md](README.md) explains how to read it.",
        described(results),
        "## Targets",
        outcome_table(outcomes(results), reasons),
        "## Where a peer wins",
        _peers_that_win(results),
    ]
    for group, title in GROUP_TITLES.items():
        wanted = [c for c in results.comparisons if c.group == group]
        if wanted:
            parts += [f"## {title}", f"![Milliseconds a step](figures/{group}.png)"]
        for comparison in wanted:
            parts += _comparison(comparison)
    if results.growth:
        parts += ["## How a step grows", "![Growth](figures/growth.png)", _growth(results)]
    return "\n\n".join(parts) + "\n"


def described(results: Results) -> str:
    """When, on what machine, with which versions and how the results were measured."""
    machine: dict[str, Any] = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results.versions.items()))
    ran_on = (
        f"{results.date}. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}. {versions}."
    )
    how = (
        f"{results.rounds} rounds of {results.seconds:g} s each; medians, in brackets the "
        "smallest and the largest of the rounds. float32."
    )
    lines = [ran_on, how]
    if machine["load_at_start"] > BUSY:
        lines.append(
            f"**The machine was not quiet**: a load of {machine['load_at_start']:.1f} before the "
            "run. Compare within a table, and with care."
        )
    return "\n\n".join(lines)


def outcome_table(found: list[Outcome], reasons: Mapping[str, str]) -> str:
    """How many targets are met, and a table of them."""
    rows = []
    for outcome in found:
        target = outcome.target
        met = "yes" if outcome.met else f"**no**, by {outcome.missed_by:.0%}"
        why = "" if outcome.met else reasons.get(target.key, "")
        sign = "≤" if target.at_most else "≥"
        rows.append(
            (target.words, f"{sign} {target.wanted:.3g}", spread(outcome.measured), met, why)
        )
    missed = sum(not outcome.met for outcome in found)
    table = markdown(
        ("target", "required", "measured ratio", "met", "reason if missed"), rows, (0, 3, 4)
    )
    return f"{len(found) - missed} of {len(found)} are met.\n\n{table}"


def _peers_that_win(results: Results) -> str:
    """A line for each peer that is faster than batchgrad in the same group, with the ratio."""
    lines = []
    for comparison in results.comparisons:
        reference = REFERENCE[comparison.group]
        if reference not in comparison.contestants:
            continue
        for name, measured in comparison.contestants.items():
            if name.startswith(("ours", "engine", "gemm")):
                continue
            ratio = times_as_fast(comparison, name, reference)
            if ratio.median > 1:
                lines.append(
                    f"- {comparison.workload}: {measured.title} is {spread(ratio)} times as fast "
                    f"as {comparison.contestants[reference].title}."
                )
    return "\n".join(lines) or "Nowhere in this run."


def _comparison(comparison: Comparison) -> list[str]:
    reference = REFERENCE[comparison.group]
    if reference not in comparison.contestants:
        reference = next(iter(comparison.contestants))
    workload = WORKLOADS[comparison.workload]
    parts = [
        f"### {comparison.workload}: {workload.title}",
        markdown(*speeds(comparison, reference)),
    ]
    bare = [name for name in comparison.contestants if name.startswith("gemm")]
    if bare:
        best = fastest(comparison, bare)
        least = step_seconds(comparison.contestants[best]).median
        parts.append(
            f"The fastest bare GEMMs ({comparison.contestants[best].title}) take "
            f"{figure(least * 1e3)} ms: {comparison.contestants[reference].title} reaches "
            f"{times_as_fast(comparison, reference, best).median:.0%} of them."
        )
    if any(m.bursts[0].phases for m in comparison.contestants.values()):
        parts += ["Milliseconds a step by phase:", markdown(*phases(comparison))]
    return parts


def _growth(results: Results) -> str:
    rows = [
        (point.series, point.variable, f"{point.value:,.0f}",
         spread(Spread.of(point.step_seconds), 1e3))
        for point in results.growth
    ]  # fmt: skip
    return markdown(("", "variable", "value", "ms a step"), rows)
