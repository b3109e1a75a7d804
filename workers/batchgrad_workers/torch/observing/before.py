"""What a step's backward passes add to the gradients of parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Total:
    """Σ g_n of formulas, and Σ‖g_n‖."""

    gradient: Tensor
    bound: float


class Before:
    """Gradients as they were before a step's backward passes."""

    def __init__(self, trainable: dict[int, Tensor]) -> None:
        self._trainable = trainable
        self._kept: dict[int, Tensor | None] = {}
        self._versions = {key: _version(each) for key, each in trainable.items()}
        self._totals: dict[tuple[int, int], Total] = {}

    @property
    def keys(self) -> list[int]:
        """Ids of the parameters that were kept."""
        return list(self._kept)

    def keep(self, key: int) -> None:
        """Keep the gradient of a parameter that is about to change; the first one stays."""
        if key not in self._kept:
            gradient = self._trainable[key].grad
            if gradient is not None:
                gradient = _dense(gradient)
                gradient = gradient.clone() if bool(gradient.any()) else None
            self._kept[key] = gradient

    def added(self, key: int) -> Tensor:
        """What has been added since."""
        parameter, kept = self._trainable[key], self._kept[key]
        if parameter.grad is None:
            return torch.zeros_like(parameter)
        gradient = _dense(parameter.grad)
        return gradient if kept is None else gradient - kept

    def reached(self) -> set[int]:
        """Parameters to whose gradients something has been added since this was made."""
        return {
            key
            for key, each in self._trainable.items()
            if _version(each) not in (None, self._versions[key]) and bool(_dense(each.grad).any())
        }

    def count(self, key: int, group: int, own: Total) -> Total:
        """What the formulas give for a parameter in this step, with this for one of its groups."""
        self._totals[key, group] = own
        parts = [part for (known, _), part in self._totals.items() if known == key]
        gradient = parts[0].gradient
        for part in parts[1:]:
            gradient = gradient + part.gradient
        return Total(gradient, sum(part.bound for part in parts))


def norm_of(tensors: list[Tensor]) -> float:
    """‖·‖ of all together."""
    if not tensors:
        return 0.0
    norms = torch._foreach_norm(tensors)  # noqa: SLF001 - no public name
    return float(torch.stack([each.double() for each in norms]).norm())


def _dense(gradient: Tensor) -> Tensor:
    gradient = gradient.detach()
    return gradient.to_dense() if gradient.is_sparse else gradient


def _version(parameter: Tensor) -> tuple[int, int] | None:
    gradient = parameter.grad
    return None if gradient is None else (id(gradient), gradient._version)
