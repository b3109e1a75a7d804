"""The figures of docs/explanation/scale.md."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.plots import BARE, OURS, THEIRS
from benchmarks.scaling.fitting import Checked, check, elsewhere, fit
from benchmarks.scaling.measured import Measurements
from benchmarks.scaling.model import Costs
from benchmarks.scaling.predictions import A_NODE, FIXED, GIGABITS, NODES, efficiency, step_on

SHOWN = {10**5: BARE, 10**7: OURS, 10**9: THEIRS}


def draw(found: Measurements, folder: Path) -> list[Path]:
    """Draw all figures as SVG; the same results give the same bytes."""
    folder.mkdir(exist_ok=True)
    there = elsewhere(found)
    figures = {
        "scale-check": _checks(check(found, fit(found))),
        "scale-fixed": _steps(there),
        "scale-growing": _efficiencies(there),
    }
    paths = []
    with mpl.rc_context({"svg.hashsalt": "batchgrad", "svg.fonttype": "none"}):
        for name, figure in figures.items():
            paths.append(folder / f"{name}.svg")
            figure.savefig(paths[-1], metadata={"Date": None})
    return paths


def _checks(checked: list[Checked]) -> Figure:
    """Draw predicted over measured milliseconds, with a band of 20%."""
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    ends = [
        0.8 * min(c.measured for c in checked) * 1e3,
        1.25 * max(c.measured for c in checked) * 1e3,
    ]
    axes.fill_between(
        ends, [0.8 * e for e in ends], [1.2 * e for e in ends], color="0.9", label="±20%"
    )
    for megabits, color in ((None, THEIRS), (1000, OURS), (100, BARE)):
        some = [c for c in checked if c.case.megabits == megabits]
        label = f"{megabits} Mbit/s" if megabits else "one host"
        measured, predicted = (
            [getattr(c, name) * 1e3 for c in some] for name in ("measured", "predicted")
        )
        axes.plot(measured, predicted, "o", color=color, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("measured, ms a step")
    axes.set_ylabel("the model's, ms")
    axes.legend(frameon=False)
    return figure


def _steps(there: Costs) -> Figure:
    """Draw the seconds of a step of N = 65,536 against the nodes."""

    def seconds(parameters: int, nodes: int, gigabits: float, siblings: bool) -> float:
        return step_on(there, parameters, FIXED, nodes, gigabits, siblings=siblings).seconds

    return _on_nodes(seconds, "s a step, N = 65,536", yscale="log")


def _efficiencies(there: Costs) -> Figure:
    """Draw the parallel efficiency against the nodes, N growing with them."""

    def share(parameters: int, nodes: int, gigabits: float, siblings: bool) -> float:
        batch_size = 16 * A_NODE * nodes
        return efficiency(there, parameters, batch_size, nodes, gigabits, siblings=siblings)

    return _on_nodes(share, "efficiency", ylim=(0, 1.05))


def _on_nodes(
    value: Callable[[int, int, float, bool], float], what: str, **settings: Any
) -> Figure:
    """Draw a plot for each bandwidth of `value(parameters, nodes, gigabits, siblings)`."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for place, gigabits in enumerate(GIGABITS, 1):
        axes = figure.add_subplot(1, 3, place)
        for parameters, color in SHOWN.items():
            for siblings in (False, True):
                values = [value(parameters, n, gigabits, siblings) for n in NODES]
                _line(axes, values, color, parameters, siblings)
        axes.set(**settings)
        _finish(axes, gigabits, what if place == 1 else "")
    return figure


def _line(axes: Any, values: list[float], color: str, parameters: int, siblings: bool) -> None:
    label = None if siblings else f"P = 10^{len(str(parameters)) - 1}"
    axes.plot(NODES, values, "--" if siblings else "-", color=color, label=label)


def _finish(axes: Any, gigabits: float, what: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 16, 256, 4096], ["1", "16", "256", "4096"])
    axes.set_title(f"{gigabits} Gbit/s", fontsize=10)
    axes.set_xlabel("nodes")
    axes.set_ylabel(what)
    axes.grid(alpha=0.25)
    if gigabits == GIGABITS[0]:
        axes.legend(frameon=False, fontsize=8)
