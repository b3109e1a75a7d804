"""The kinds of layers, optimizers and schedules, by the word that a spec's `kind` takes."""

from collections.abc import Mapping
from typing import Any, get_args

from batchgrad.contract.model import AnyLayer, Wire
from batchgrad.contract.spec import AnyOptimizer, AnySchedule

__all__ = ["LAYERS", "OPTIMIZERS", "SCHEDULES"]


def _by_kind(union: Any) -> Mapping[str, type[Wire]]:
    return {get_args(one.model_fields["kind"].annotation)[0]: one for one in get_args(union)}


LAYERS = _by_kind(AnyLayer)
OPTIMIZERS = _by_kind(AnyOptimizer)
SCHEDULES = _by_kind(AnySchedule)
