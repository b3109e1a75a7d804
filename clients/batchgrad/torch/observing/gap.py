"""The gap between a shortcut's gradient and the mean gradient."""

from dataclasses import asdict, astuple, dataclass
from typing import Any


@dataclass(frozen=True)
class Agreement:
    """A shortcut's gradient s against the mean gradient G; NaN where G is 0."""

    relative_error: float
    """‖G - s‖ / ‖G‖."""
    cosine_similarity: float
    """⟨G, s⟩ / (‖G‖ ‖s‖)."""
    norm_ratio: float
    """‖s‖ / ‖G‖."""


@dataclass(frozen=True)
class Gap(Agreement):
    """The shortcut averaged_error of one step, whole, and by the names of the modules' parts."""

    layers: dict[str, Agreement]

    def row(self) -> dict[str, float]:
        """Flat names, as in the frame of a job; those of a layer with its name."""
        every = {"": Agreement(self.relative_error, self.cosine_similarity, self.norm_ratio)}
        every |= {f".{name}": each for name, each in self.layers.items()}
        return {
            f"{name}_averaged_error{layer}": value
            for layer, each in every.items()
            for name, value in zip(("gap", "cosine", "norm_ratio"), astuple(each), strict=True)
        }

    def table(self) -> list[dict[str, Any]]:
        """A row for each layer."""
        return [{"layer": name, **asdict(each)} for name, each in self.layers.items()]
