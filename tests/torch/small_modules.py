"""Tasks of small PyTorch modules, which jobs of the tests name."""

from typing import Any

from torch import nn

from batchgrad.torch import classification
from batchgrad.torch.tasks import Task


class Residual(nn.Module):  # type: ignore[misc] # torch has no types here
    """A residual network with layer norm and dropout."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(6, width)
        self.norm = nn.LayerNorm(width)
        self.second = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(width, 3)

    def forward(self, inputs: Any) -> Any:
        hidden = self.first(inputs)
        hidden = hidden + self.dropout(self.second(self.norm(hidden).relu()))
        return self.last(hidden)


def residual(config: dict[str, Any]) -> Task:
    """A classification by a residual network."""
    return classification(Residual(config.get("width", 7), config.get("dropout", 0.0)))
