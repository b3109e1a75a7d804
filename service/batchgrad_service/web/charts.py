"""The charts of a job's page: their titles and how to read them; static/job.js draws them."""

from typing import NamedTuple

from batchgrad.contract import FIGURES, JobSpec, Privacy

HERO = "hero"
PARTS = {
    "progress": "Accuracy and learning rate",
    "gradients": "Gradients and noise",
    "shortcuts": "Shortcuts by direction and layer",
    "time": "Time of a step",
}
"""The parts of the page that are folded, with their titles; the charts of HERO stand above them."""


class Chart(NamedTuple):
    """A chart; `key` is its element's id, for a figure of a step the figure's name."""

    key: str
    title: str
    reading: str
    part: str


_PARTS = {"loss": HERO, "learning_rate": "progress"}
_LOSS, *_OTHERS = (
    Chart(name, figure.label.capitalize(), figure.text, _PARTS.get(name, "gradients"))
    for name, figure in FIGURES.items()
)
CHARTS = (
    _LOSS,
    Chart(
        "gap",
        "Gap of each shortcut",
        "How far the shortcut's gradient is from the exact mean gradient G, ‖shortcut − G‖ / ‖G‖: "
        "0 is exact, 1 is as wrong as no step at all.",
        HERO,
    ),
    Chart(
        "accuracy",
        "Validation accuracy",
        "Part of the validation examples that are classified correctly.",
        "progress",
    ),
    Chart(
        "r2",
        "Validation R²",
        "1 is exact, 0 is no better than the mean target, below 0 is worse.",
        "progress",
    ),
    Chart(
        "cosine",
        "Direction of each shortcut",
        "Cosine to the exact mean gradient G: 1 is the same direction.",
        "shortcuts",
    ),
    *_OTHERS,
    Chart(
        "layers",
        "Gap by layer",
        "At the last step: the error of averaging at the layer itself (covariance), and at the "
        "layers above it (propagation).",
        "shortcuts",
    ),
    Chart(
        "norms",
        "Norms of single examples",
        "Number of examples in the last minibatch by gradient norm.",
        "gradients",
    ),
    Chart("phases", "Time of a step by phase", "Each phase's share of the step.", "time"),
)
"""In the order of the page."""

_EPSILON = Chart(
    "epsilon", "Privacy spent", "ε after each step, an upper bound, and the budget (dashed).", HERO
)
_GRADIENT_NORM = next(one for one in CHARTS if one.key == "gradient_norm")


def charts_of(spec: JobSpec) -> tuple[Chart, ...]:
    """The charts of a job's page in their order; of a private job those that can have lines."""
    privacy = spec.privacy
    if privacy is None:
        return CHARTS
    kept = {"gradient_norm", "learning_rate"}
    kept |= {"accuracy"} if privacy.validation else set()
    kept |= {"loss", "r2"} if privacy.validation == "public" else set()
    kept |= {"loss"} if privacy.report != "none" else set()
    told = {
        "loss": _LOSS._replace(reading=_loss_reading(privacy)),
        "gradient_norm": _GRADIENT_NORM._replace(
            reading="Norm of the noisy mean gradient, mostly noise.",
            part="gradients" if "loss" in kept else HERO,
        ),
    }
    return (_EPSILON, *(told.get(one.key, one) for one in CHARTS if one.key in kept))


def _loss_reading(privacy: Privacy) -> str:
    noisy = "Noisy mean loss of the minibatch, each example's cut to loss_bound."
    public = "Mean loss of the public validation examples."
    shown = [noisy] * (privacy.report != "none") + [public] * (privacy.validation == "public")
    return " ".join(shown)
