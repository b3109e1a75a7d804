"""Adapt a trained GPT by low-rank adapters (LoRA): `python examples/torch/lora.py`.

A GPT learns prose. Then it is frozen, and adapters beside its linear layers learn program code.
They begin at zero, so that the adapted model is at first the model that it adapts.
"""
# ruff: noqa: T201 - a script, which prints

import argparse
import inspect
from typing import Any

import torch
from character_gpt import REFERENCE, Gpt, pieces  # the script beside this one
from torch import Tensor, nn

import batchgrad
from batchgrad.torch import causal_language_model, train


class Adapted(nn.Module):
    """base(x) + B A x, of rank `rank`; A is random and B zero at first."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + self.up(self.down(inputs))


def adapt(module: nn.Module) -> None:
    """Freeze a module, and put an adapter beside each linear layer of its blocks."""
    module.requires_grad_(requires_grad=False)
    for block in module.blocks:
        for part in list(block.modules()):
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(part, name, Adapted(child))


def mean_loss(module: nn.Module, text: Tensor) -> float:
    """The loss of a character."""
    batch = {"input_ids": text}
    task = causal_language_model(module)
    with torch.no_grad():
        return float(task.losses(task.outputs(module, batch), batch).mean())


def main() -> None:
    """Train a model, then its adapters, and show what has changed."""
    torch.manual_seed(0)
    prose, code = pieces(REFERENCE), pieces(inspect.getsource(argparse))
    keys: dict[str, Any] = {"batch_size": 32, "workers": 0, "shortcuts": []}
    with batchgrad.local() as client:
        optimizer = {"kind": "adamw", "learning_rate": 0.005, "clip_norm": 1.0}
        model = train(
            causal_language_model(Gpt()),
            {"input_ids": prose},
            optimizer=optimizer,
            epochs=3,
            client=client,
            **keys,
        ).module
        before = model(code)
        print(f"loss on code: {mean_loss(model, code):.3f}")
        adapt(model)
        same = torch.equal(model(code), before)
        print(f"with adapters of zero: {mean_loss(model, code):.3f}, the same outputs: {same}")
        trained = train(
            causal_language_model(model),
            {"input_ids": code},
            optimizer={"kind": "adamw", "learning_rate": 0.01, "clip_norm": 1.0},
            epochs=3,
            client=client,
            **keys,
        ).module
    print(f"trained: {mean_loss(trained, code):.3f}")
    old, new = dict(model.named_parameters()), dict(trained.named_parameters())
    changed = [name for name in old if not torch.equal(old[name], new[name])]
    adapters = [name for name in old if ".up." in name or ".down." in name]
    sizes = [sum(old[name].numel() for name in names) for names in (changed, old)]
    print(f"changed: {sizes[0]} of {sizes[1]} numbers, the adapters alone: {changed == adapters}")


if __name__ == "__main__":
    main()
