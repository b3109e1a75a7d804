"""Tasks of small PyTorch modules, which jobs of the tests name."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from batchgrad.torch import causal_language_model, classification, regression
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


class Block(nn.Module):  # type: ignore[misc]
    """A block of a transformer, with causal attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Any) -> Any:
        parts = self.attention(self.before(hidden)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.dropout(self.mixed(found.transpose(1, 2).flatten(2)))
        wide = functional.gelu(self.wide(self.between(hidden)))
        return hidden + self.dropout(self.narrow(wide))


class Gpt(nn.Module):  # type: ignore[misc]
    """A small GPT, with the same weight for embedding and head."""

    def __init__(
        self, vocabulary: int, length: int, width: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 2, dropout) for _ in range(layers))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, input_ids: Any) -> Any:
        hidden = self.tokens(input_ids) + self.places[: input_ids.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.last(hidden))


def gpt(config: dict[str, Any]) -> Task:
    """A language model of the ids 0 to 29."""
    return causal_language_model(
        Gpt(30, 12, config.get("width", 16), config.get("layers", 2), config.get("dropout", 0.0))
    )


class Adapted(nn.Module):  # type: ignore[misc]
    """A frozen linear layer with a low-rank adapter, which begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 3).requires_grad_(requires_grad=False)
        self.down = nn.Linear(6, 2, bias=False)
        self.up = nn.Linear(2, 3, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Any) -> Any:
        return self.base(inputs) + self.up(self.down(inputs))


def adapted(config: dict[str, Any]) -> Task:
    """A classification by a frozen layer with a trained adapter."""
    del config
    return classification(Adapted())


def stacked(config: dict[str, Any]) -> Task:
    """A classification by linear layers with a tanh between them."""
    del config
    return classification(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)))


def line(config: dict[str, Any]) -> Task:
    """A regression by one linear layer."""
    return regression(nn.Linear(6, config["outputs"]))
