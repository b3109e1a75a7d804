"""The torch engine, without the environment that it sets for processes of its own."""

import importlib
import os
from typing import Any

WATCHING = "batchgrad_workers.torch.observing.watching"
SHORTCUT = "batchgrad_workers.torch.observing.averaged_error"
STATISTICS = "batchgrad_engine.measurement.statistics"


def watching() -> Any:
    """The module that taps a loop's forward passes."""
    return _import(WATCHING)


def shortcut() -> Any:
    """The module of the shortcut averaged_error in a loop."""
    return _import(SHORTCUT)


def statistics() -> Any:
    """The formulas of a service's step figures."""
    return _import(STATISTICS)


def _import(name: str) -> Any:
    """Import a module; environment variables stay, for they decide the bits of the user's loop."""
    before = dict(os.environ)
    try:
        return importlib.import_module(name)
    finally:
        for variable in set(os.environ) - set(before):
            del os.environ[variable]
