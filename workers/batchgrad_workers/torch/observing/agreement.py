"""Norms and cosines of a shortcut's gradient against an observed step's own."""

from collections.abc import Mapping
from math import isfinite, nan, sqrt

import torch
from torch import Tensor

from batchgrad.torch.observing.gap import Agreement, Gap

Squares = tuple[float, float, float, float]
"""‖G‖², ‖s‖², ‖G - s‖² and ⟨G, s⟩."""


def gap(exact: Mapping[str, Tensor], shortcut: Mapping[str, Tensor]) -> Gap:
    """`shortcut` s against `exact` G, both by parameter; the layers are the parameters' modules."""
    own = _squares(list(exact.values()), [shortcut[name] for name in exact])
    layers: dict[str, list[Squares]] = {}
    for name, each in zip(exact, own, strict=True):
        layers.setdefault(name.rpartition(".")[0] or "(root)", []).append(each)
    whole = _agreement(own)
    return Gap(
        whole.relative_error,
        whole.cosine_similarity,
        whole.norm_ratio,
        {name: _agreement(parts) for name, parts in layers.items()},
    )


def _squares(exact: list[Tensor], shortcut: list[Tensor]) -> list[Squares]:
    """Of each parameter, with norms summed in its own precision and combined in float64."""
    apart = torch._foreach_sub(exact, shortcut)  # noqa: SLF001 - no public name
    norms = [
        torch.stack(list(torch._foreach_norm(each))).double().square()  # noqa: SLF001
        for each in (exact, shortcut, apart)
    ]
    inner = [torch.dot(g.flatten(), s.flatten()) for g, s in zip(exact, shortcut, strict=True)]
    figures = torch.stack([*norms, torch.stack(inner).double()], 1)
    return [(row[0], row[1], row[2], row[3]) for row in figures.tolist()]


def _agreement(parts: list[Squares]) -> Agreement:
    exact, own, apart, inner = (sum(column) for column in zip(*parts, strict=True))
    if not (exact > 0 and isfinite(exact) and isfinite(own)):
        return Agreement(nan, nan, nan)
    cosine = max(-1.0, min(1.0, inner / sqrt(exact) / sqrt(own))) if own > 0 else nan
    return Agreement(sqrt(apart / exact), cosine, sqrt(own / exact))
