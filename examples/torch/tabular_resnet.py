"""Train a residual network on a table of numbers: `python examples/torch/tabular_resnet.py`.

The module standardizes its inputs, a quarter of the patients is held out, class by class, and the
run keeps the parameters of its best evaluation.
"""
# ruff: noqa: D101, T201 - a script, which prints

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

from batchgrad.torch import train


class Standardize(nn.Module):
    """Columns with mean 0 and deviation 1, by the means and deviations of these rows."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", rows.mean(0))
        self.register_buffer("deviation", rows.std(0))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.deviation


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.dropout(self.narrow(self.wide(self.norm(hidden)).relu()))


def main() -> None:
    """Train until the validation loss stops falling."""
    torch.manual_seed(0)
    inputs, targets = load_breast_cancer(return_X_y=True)
    module = nn.Sequential(
        Standardize(torch.tensor(inputs, dtype=torch.float32)),
        nn.Linear(30, 32),
        Block(32),
        Block(32),
        nn.LayerNorm(32),
        nn.ReLU(),
        nn.Linear(32, 2),
    )
    trained = train(
        module,
        inputs,
        targets,
        loss="cross_entropy",
        validation={"fraction": 0.25, "stratify": True},
        optimizer={
            "kind": "adamw",
            "learning_rate": 0.003,
            "weight_decay": 0.1,
            "groups": [{"match": "*.bias", "weight_decay": 0}],
        },
        batch_size=32,
        epochs=40,
        early_stopping={"patience": 5},
        workers=0,
    )
    job = trained.job
    print(f"loss {job.validation_loss:.3f}, accuracy {job.validation_accuracy:.3f} on held out")
    print(f"stopped after {job.step} of {job.steps_planned} steps")


if __name__ == "__main__":
    main()
