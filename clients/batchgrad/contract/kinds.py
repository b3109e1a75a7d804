"""The kinds of layers, optimizers and schedules, by the word that a spec's `kind` takes."""

from collections.abc import Mapping
from typing import Any, get_args

from batchgrad.contract.model import Activation, AnyLayer
from batchgrad.contract.training.optimizers import AnyOptimizer, AnySchedule
from batchgrad.contract.wire import Wire

__all__ = ["ACTIVATIONS", "LAYERS", "OPTIMIZERS", "SCHEDULES"]


def _by_kind(union: Any) -> Mapping[str, type[Wire]]:
    return {get_args(one.model_fields["kind"].annotation)[0]: one for one in get_args(union)}


LAYERS = _by_kind(AnyLayer)
ACTIVATIONS = {kind: one for kind, one in LAYERS.items() if issubclass(one, Activation)}
OPTIMIZERS = _by_kind(AnyOptimizer)
SCHEDULES = _by_kind(AnySchedule)
