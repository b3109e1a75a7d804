"""Plot the loss curves of several runs, on a terminal or into a file."""

import importlib
from collections.abc import Mapping, Sequence
from math import log10
from pathlib import Path
from typing import Any

from batchgrad.display import averages
from batchgrad.errors import Unavailable, extra

Curve = Sequence[tuple[int, float, float]]
"""(step, loss, weight) in order."""

CEILING = 10.0
"""A plot ends a curve at this multiple of its first loss: a diverging run flattens the others."""

MARKERS = "ox+*"
COLOURS = ("green", "red", "yellow", "blue")


def on_terminal(curves: Mapping[str, Curve], *, width: int = 72, colours: bool = False) -> str:
    """The curves in characters, on a logarithmic scale if all losses are positive."""
    from plotille import Figure  # noqa: PLC0415 (only where something is drawn)

    drawn = {name: _thinned(within_ceiling(curve)) for name, curve in curves.items()}
    drawn = {name: curve for name, curve in drawn.items() if curve}
    if not drawn:
        return "No loss to plot."
    logarithmic = _positive(drawn)
    figure = Figure()
    figure.width, figure.height = width, 16
    figure.with_colors = colours
    figure.x_label, figure.y_label = "step", "loss"
    figure.x_ticks_fkt = lambda low, _: f"{low:.0f}"
    figure.y_ticks_fkt = lambda low, _: f"{10**low if logarithmic else low:.3g}"
    figure.set_x_limits(min_=0, max_=max(curve[-1][0] for curve in drawn.values()))
    for (name, curve), marker, colour in zip(drawn.items(), MARKERS, COLOURS, strict=False):
        losses = [log10(loss) if logarithmic else loss for _, loss, _ in curve]
        figure.plot(
            [step for step, _, _ in curve],
            losses,
            colour if colours else None,
            label=name,
            marker=marker,
        )
    return str(figure.show(legend=True))


def check_file(path: Path) -> None:
    """Check that `to_file` will be able to write a file.

    Raises:
        Unavailable: matplotlib is not installed.
        ValueError: it cannot write this suffix, or the folder does not exist.
    """
    known = sorted(_canvas().get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in known:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected .png, or one of {known}.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"The folder {path.absolute().parent} does not exist: create it first.")


def to_file(path: Path, curves: Mapping[str, Curve], title: str) -> None:
    """Draw the curves into a file; its suffix decides the format."""
    figure = importlib.import_module("matplotlib.figure").Figure(
        figsize=(8, 5), layout="constrained"
    )
    canvas = _canvas()(figure)
    axes = figure.add_subplot(title=title, xlabel="step", ylabel="loss of the minibatch")
    drawn = {name: within_ceiling(curve) for name, curve in curves.items()}
    if _positive(drawn):
        axes.set_yscale("log")
    for name, curve in drawn.items():
        cut = " (diverged)" if len(curve) < len(curves[name]) else ""
        steps, losses = [step for step, _, _ in curve], [loss for _, loss, _ in curve]
        axes.plot(steps, losses, label=f"{name}{cut}", linewidth=1.2)
    axes.legend()
    axes.grid(visible=True, alpha=0.3)
    canvas.print_figure(path)


def within_ceiling(curve: Curve) -> Curve:
    """The curve up to where it first leaves CEILING times its first loss."""
    if not curve or curve[0][1] <= 0:
        return curve
    limit = CEILING * curve[0][1]
    end = next((k for k, (_, loss, _) in enumerate(curve) if loss > limit), len(curve))
    return curve[:end]


def _thinned(curve: Curve, points: int = 48) -> Curve:
    """The curve with about `points` points, each the mean of some steps."""
    size = -(-len(curve) // points) or 1
    groups = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [_joined(group) for group in groups]


def _joined(group: Curve) -> tuple[int, float, float]:
    """One point for some steps: the last step, the mean loss over all examples, their weight."""
    mean = averages.mean_loss((loss, weight) for _, loss, weight in group)
    return group[-1][0], group[-1][1] if mean is None else mean, sum(w for _, _, w in group)


def _positive(curves: Mapping[str, Curve]) -> bool:
    return all(loss > 0 for curve in curves.values() for _, loss, _ in curve)


def _canvas() -> Any:
    """Matplotlib's canvas in memory, which needs no window and no global state."""
    try:
        module = importlib.import_module("matplotlib.backends.backend_agg")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"--plot needs {error.name}, which is not installed: {extra('demo')}"
        ) from error
    return module.FigureCanvasAgg
