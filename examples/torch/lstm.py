"""Classify sequences of unlike lengths by an LSTM: `python examples/torch/lstm.py`.

A sequence is padded with zeros, and its length is an array of the dataset beside it: the module
gets it because its forward method has a parameter of that name.
"""
# ruff: noqa: T201 - a script, which prints

import torch
from torch import Tensor, nn

from batchgrad.torch import train

LONGEST, SYMBOLS, WIDTH = 12, 6, 32


class Last(nn.Module):
    """An LSTM, and a linear layer on its state at the end of each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS + 1, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(inputs))  # (n, LONGEST, WIDTH)
        end = (lengths - 1)[:, None, None].expand(-1, 1, WIDTH)
        return self.head(states.gather(1, end).squeeze(1))


def sequences(count: int) -> dict[str, Tensor]:
    """Random sequences; the class of one is its first symbol, which the LSTM must remember."""
    lengths = torch.randint(3, LONGEST + 1, (count,))
    symbols = torch.randint(1, SYMBOLS + 1, (count, LONGEST))
    inputs = torch.where(torch.arange(LONGEST) < lengths[:, None], symbols, 0)
    return {"inputs": inputs, "lengths": lengths, "targets": inputs[:, 0] - 1}


def main() -> None:
    """Train, and print the accuracy on sequences that were held out, by length."""
    torch.manual_seed(0)
    trained = train(
        Last(),
        sequences(2000),
        loss="cross_entropy",
        optimizer={"kind": "adam", "learning_rate": 0.01, "clip_norm": 1.0},
        batch_size=64,
        epochs=8,
        validation_fraction=0.2,
        workers=0,
    )
    print(f"accuracy on held out sequences: {trained.job.validation_accuracy:.3f}")
    new = sequences(1000)
    with torch.no_grad():
        right = trained.module(new["inputs"], new["lengths"]).argmax(1) == new["targets"]
    for name, some in (("short", new["lengths"] <= 6), ("long", new["lengths"] > 6)):
        print(f"accuracy on new {name} sequences: {right[some].float().mean():.3f}")


if __name__ == "__main__":
    main()
