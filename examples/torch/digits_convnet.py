"""Train a convolutional network and find wrong labels: `python examples/torch/digits_convnet.py`.

Five per cent of the digits get a wrong label. One run trains the network and ranks the digits by
their losses on the way. BatchNorm would mix the digits of a minibatch: GroupNorm does not.
"""
# ruff: noqa: T201 - a script, which prints

import torch
from sklearn.datasets import load_digits
from torch import nn

from batchgrad.torch import train

WRONG = 90


def main() -> None:
    """Train on digits with wrong labels, and compare the suspects with them."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16  # (1797, 1, 8, 8)
    labels = torch.tensor(digits.target)
    wrong = torch.randperm(len(labels))[:WRONG]
    labels[wrong] = (labels[wrong] + torch.randint(1, 10, (WRONG,))) % 10

    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.GroupNorm(8, 32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )
    trained = train(
        module,
        images,
        labels,
        loss="cross_entropy",
        optimizer={"kind": "adam", "learning_rate": 0.003},
        batch_size=64,
        epochs=6,
        workers=0,
    )
    with torch.no_grad():
        right = trained.module(images).argmax(1) == torch.tensor(digits.target)
    print(f"accuracy by the true labels: {right.float().mean():.3f}")
    suspects = {suspect.example for suspect in trained.suspects[:WRONG]}
    found = suspects & set(wrong.tolist())
    print(f"wrong labels among the first {WRONG} suspects: {len(found)}")


if __name__ == "__main__":
    main()
