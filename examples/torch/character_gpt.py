"""Train a GPT on characters, and find spoiled lines: `python examples/torch/character_gpt.py`.

The text is Python's own language reference. Some pieces of it become random characters. Their
losses stay large, so the run that trains the model finds them too.
"""
# ruff: noqa: D101, T201 - a script, which prints

from pydoc_data.topics import topics
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch import causal_language_model, train

REFERENCE = "\n".join(topics[name] for name in sorted(topics))
LETTERS = "\n !\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
LENGTH, PIECES, SPOILED = 32, 1024, 10


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        parts = self.attention(self.before(hidden)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.mixed(found.transpose(1, 2).flatten(2))
        return hidden + self.mlp(hidden)


class Gpt(nn.Module):
    def __init__(self, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(LETTERS), width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.places = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(LETTERS), bias=False)
        self.head.weight = self.tokens.weight  # one parameter, used twice

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.tokens(input_ids) + self.places[: input_ids.shape[1]]
        return self.head(self.last(self.blocks(hidden)))


def pieces(text: str) -> Tensor:
    """The first pieces of a text as numbers of characters, (PIECES, LENGTH)."""
    numbers = [LETTERS.index(letter) for letter in text.lower() if letter in LETTERS]
    return torch.tensor(numbers[: PIECES * LENGTH]).reshape(PIECES, LENGTH)


def spoil(text: Tensor) -> set[int]:
    """Overwrite some pieces with random characters, and give their numbers."""
    chosen = torch.randperm(len(text))[:SPOILED]
    text[chosen] = torch.randint(len(LETTERS), (SPOILED, LENGTH))
    return set(chosen.tolist())


def write(model: Any, start: str, length: int) -> str:
    """Go on after `start` with the likeliest characters."""
    numbers = [LETTERS.index(letter) for letter in start]
    with torch.no_grad():
        for _ in range(length):
            logits = model(torch.tensor([numbers[-LENGTH:]]))
            numbers.append(int(logits[0, -1].argmax()))
    return "".join(LETTERS[number] for number in numbers)


def main() -> None:
    """Train, write, and compare the suspects with the pieces that were spoiled."""
    torch.manual_seed(0)
    text = pieces(REFERENCE)
    spoiled = spoil(text)
    trained = train(
        causal_language_model(Gpt()),
        {"input_ids": text},
        optimizer={"kind": "adamw", "learning_rate": 0.005, "clip_norm": 1.0},
        batch_size=16,
        epochs=4,
        workers=0,
    )
    losses = trained.history["loss"]
    print(f"loss of a character: {losses[0]:.2f} at first, {sum(losses[-9:]) / 9:.2f} at last")
    print("it writes:", write(trained.module, "the ", 40).replace("\n", " "))
    suspects = {suspect.example for suspect in trained.suspects[:SPOILED]}
    print(f"spoiled pieces among the first {SPOILED} suspects: {len(spoiled & suspects)}")


if __name__ == "__main__":
    main()
