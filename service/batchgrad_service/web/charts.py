"""The charts of a job's page: their titles and how to read them; static/job.js draws them."""

from typing import NamedTuple

from batchgrad.contract import FIGURES


class Chart(NamedTuple):
    """A chart; `key` is its element's id, for a figure of a step the figure's name."""

    key: str
    title: str
    reading: str


_LOSS, *_OTHERS = (
    Chart(name, figure.label.capitalize(), figure.text) for name, figure in FIGURES.items()
)
CHARTS = (
    _LOSS,
    Chart(
        "gap",
        "Gap of each shortcut",
        "‖shortcut − G‖ / ‖G‖: 0 is exact, 1 is as wrong as no gradient at all.",
    ),
    Chart(
        "accuracy",
        "Validation accuracy",
        "Share of the held-out examples whose class is right.",
    ),
    Chart(
        "cosine",
        "Direction of each shortcut",
        "Cosine to the exact mean gradient G: 1 is the same direction.",
    ),
    *_OTHERS,
    Chart(
        "layers",
        "Gap by layer",
        "At the last step: what averaging loses at a layer (covariance), and had lost above it "
        "(propagation).",
    ),
    Chart(
        "norms",
        "Norms of single examples",
        "How many examples of the last minibatch have a gradient that large.",
    ),
    Chart("phases", "Where a step's time goes", "Milliseconds of each phase."),
)
"""In the order of the page."""
