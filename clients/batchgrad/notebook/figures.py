"""The course of a job as a figure of matplotlib."""

import importlib
import io
from collections.abc import Sequence
from typing import Any

from batchgrad.errors import Unavailable, extra
from batchgrad.notebook.frames import Columns

_PLAIN = ("validation accuracy", "ε spent")
"""Panels with a single line on a linear scale."""


def job_figure(title: str, data: Columns) -> Any:
    """Losses, gaps of the shortcuts, accuracy and ε where there are some, over the steps.

    Raises:
        Unavailable: matplotlib is not installed.
    """
    figure = _new_figure()
    losses = {"minibatch": data["loss"], "validation": data.get("validation_loss")}
    gaps = {
        name.removeprefix("gap_").replace("_", " "): data[name]
        for name in data
        if name.startswith("gap_")
    }
    panels = [
        ("loss", {name: values for name, values in losses.items() if values}),
        ("gap to the mean gradient", gaps),
        ("validation accuracy", {"": data.get("validation_accuracy") or []}),
        ("ε spent", {"": data.get("epsilon") or []}),
    ]
    shown = [(label, lines) for label, lines in panels if any(map(_known, lines.values()))]
    axes = figure.subplots(len(shown) or 1, 1, sharex=True, squeeze=False)[:, 0]
    for one, (label, lines) in zip(axes, shown, strict=False):
        _draw(one, label, data["step"], lines)
    axes[0].set_title(title)
    axes[-1].set_xlabel("step")
    figure.set_size_inches(8, 1 + 2 * len(axes))
    return figure


def _draw(axes: Any, label: str, steps: Sequence[int], lines: dict[str, Any]) -> None:
    for name, values in lines.items():
        points = [(s, v) for s, v in zip(steps, values, strict=True) if v is not None]
        marker = "o" if len(points) < len(steps) / 2 else ""
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1.2, marker=marker, ms=3)
    axes.set_ylabel(label)
    if label not in _PLAIN:
        if all(v > 0 for values in lines.values() for v in _known(values)):
            axes.set_yscale("log")
        axes.legend()
    axes.grid(visible=True, alpha=0.3)


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _new_figure() -> Any:
    """A figure without pyplot's global state, which a notebook shows nevertheless."""
    try:
        module = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"A plot needs {error.name}, which is not installed: {extra('demo')}"
        ) from error
    return type("JobFigure", (module.Figure,), {"_repr_png_": _png})(layout="constrained")


def _png(figure: Any) -> bytes:
    """The picture; IPython asks for it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
