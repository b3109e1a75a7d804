"""Modules for the layers that torch.nn lacks."""

from typing import Any

import torch
from torch import nn


class Standardize(nn.Module):  # type: ignore[misc]  # torch is not there for mypy
    """(x - mean) / deviation in float64, then in the network's `dtype`."""

    def __init__(self, mean: Any, deviation: Any, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float64))

    def forward(self, inputs: Any) -> Any:
        """Inputs (n, …)."""
        return ((inputs.double() - self.mean) / self.deviation).to(self.dtype)


class ChannelMean(nn.Module):  # type: ignore[misc]
    """The mean of each channel, (n, channels, …) to (n, channels)."""

    def forward(self, inputs: Any) -> Any:
        """Inputs (n, channels, …)."""
        return inputs.flatten(2).mean(2)


class SequenceMean(nn.Module):  # type: ignore[misc]
    """The mean over the positions, (n, positions, width) to (n, width)."""

    def forward(self, inputs: Any) -> Any:
        """Inputs (n, positions, width)."""
        return inputs.mean(-2)


class Residual(nn.Sequential):  # type: ignore[misc]
    """a + f(a), f being the modules in order."""

    def forward(self, inputs: Any) -> Any:
        """Inputs of the shape that f gives."""
        return inputs + super().forward(inputs)
