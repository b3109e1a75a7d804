"""A transformer on patches of a picture."""

from typing import Any

import torch
from torch import Tensor, nn

from batchgrad.torch import Task, classification


class Transformer(nn.Module):
    """Logits (n, classes) of pictures (n, height · width), cut into patches of 2 × 2 pixels."""

    def __init__(self, side: int, width: int, layers: int, classes: int) -> None:
        super().__init__()
        self.side = side
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.places = nn.Parameter(0.02 * torch.randn(side // 2 * (side // 2), width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Cut into patches, let them attend to one another, and average them."""
        pictures = inputs.unflatten(1, (1, self.side, self.side)) / 16
        hidden = self.patches(pictures).flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden.mean(1))


def build(config: dict[str, Any]) -> Task:
    """The task that a spec names: `config` is the spec's."""
    module = Transformer(8, config["width"], config["layers"], classes=10)
    return classification(module)
