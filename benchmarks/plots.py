"""The figures of RESULTS.md."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.results import Comparison, Results
from benchmarks.statistics import Spread, step_seconds

OURS, THEIRS, BARE = "#1f6f8b", "#8a8a8a", "#d9a520"


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw one figure for each group that was run, and one of growth if it was measured."""
    folder.mkdir(exist_ok=True)
    drawn: list[Path] = []
    for group in dict.fromkeys(c.group for c in results.comparisons):
        wanted = [c for c in results.comparisons if c.group == group]
        figure = Figure(figsize=(11, 3.6 * ((len(wanted) + 1) // 2)), layout="constrained")
        for place, comparison in enumerate(wanted, 1):
            axes = figure.add_subplot((len(wanted) + 1) // 2, 2, place)
            _points(axes, comparison)
        drawn.append(folder / f"{group}.png")
        figure.savefig(drawn[-1], dpi=110)
    if results.growth:
        drawn.append(folder / "growth.png")
        _growth(results).savefig(drawn[-1], dpi=110)
    return drawn


def _points(axes: Any, comparison: Comparison) -> None:
    """Draw median milliseconds a step, the fastest on top; whiskers show smallest and largest."""
    spreads = {n: step_seconds(m) for n, m in comparison.contestants.items()}
    names = sorted(spreads, key=lambda name: -spreads[name].median)
    medians = [spreads[n].median * 1e3 for n in names]
    low = [(spreads[n].median - spreads[n].low) * 1e3 for n in names]
    high = [(spreads[n].high - spreads[n].median) * 1e3 for n in names]
    titles = [comparison.contestants[n].title for n in names]
    # Points, not bars: a bar's length means nothing where the axis does not start at 0.
    for place, name in enumerate(names):
        whiskers = [[low[place]], [high[place]]]
        axes.errorbar(medians[place], place, xerr=whiskers, fmt="o", color=_color(name), capsize=3)
    axes.set_yticks(range(len(names)), titles)
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.set_title(f"{comparison.workload}, N = {comparison.batch_size}")
    axes.set_xlabel("ms a step, logarithmic")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", labelsize=7)


def _color(name: str) -> str:
    if name.startswith(("ours", "engine")):
        return OURS
    return BARE if name.startswith("gemm") else THEIRS


def _growth(results: Results) -> Figure:
    """Draw one panel for each variable."""
    variables = list(dict.fromkeys(point.variable for point in results.growth))
    figure = Figure(figsize=(11, 7), layout="constrained")
    for place, variable in enumerate(variables, 1):
        axes = figure.add_subplot(2, (len(variables) + 1) // 2, place)
        points = [point for point in results.growth if point.variable == variable]
        values = [point.value for point in points]
        spreads = [Spread.of(point.step_seconds) for point in points]
        errors = [
            [(s.median - s.low) * 1e3 for s in spreads],
            [(s.high - s.median) * 1e3 for s in spreads],
        ]
        medians = [s.median * 1e3 for s in spreads]
        axes.errorbar(values, medians, yerr=errors, marker="o", color=OURS, capsize=2)
        axes.set_title(points[0].series, fontsize=9)
        axes.set_xlabel(variable)
        axes.set_ylabel("ms a step")
        if variable in {"P", "N"}:
            axes.set_xscale("log")
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xticks(values, [f"{value:,.0f}" for value in values], fontsize=8)
        axes.set_xticks([], minor=True)
    return figure
