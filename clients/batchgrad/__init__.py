"""batchgrad: exact mean gradients on a Ray cluster, and how far the shortcuts are off.

This package is the light client: it needs neither numpy nor Ray.

    import batchgrad

    with batchgrad.local() as client:  # a private service; Client() for one that runs
        job = client.wait(client.submit(batchgrad.load_job("digits.yaml")).id)
"""

import importlib
from typing import TYPE_CHECKING, Any

from batchgrad.version import __version__

if TYPE_CHECKING:  # what `__getattr__` finds; mypy needs the contract's modules one by one
    from batchgrad import contract, errors
    from batchgrad.client import AsyncClient, Client
    from batchgrad.contract import API_VERSION as API_VERSION
    from batchgrad.contract.datasets import *  # noqa: F403
    from batchgrad.contract.examples import *  # noqa: F403
    from batchgrad.contract.figures import *  # noqa: F403
    from batchgrad.contract.gradients import *  # noqa: F403
    from batchgrad.contract.kinds import *  # noqa: F403
    from batchgrad.contract.losses import *  # noqa: F403
    from batchgrad.contract.model import *  # noqa: F403
    from batchgrad.contract.operations import *  # noqa: F403
    from batchgrad.contract.plans import *  # noqa: F403
    from batchgrad.contract.tables import *  # noqa: F403
    from batchgrad.contract.training.initial import *  # noqa: F403
    from batchgrad.contract.training.module import *  # noqa: F403
    from batchgrad.contract.training.optimizers import *  # noqa: F403
    from batchgrad.contract.training.privacy import *  # noqa: F403
    from batchgrad.contract.training.spec import *  # noqa: F403
    from batchgrad.contract.training.stopping import *  # noqa: F403
    from batchgrad.contract.training.validation import *  # noqa: F403
    from batchgrad.contract.views import *  # noqa: F403
    from batchgrad.downloads.card import Card
    from batchgrad.downloads.reading import read_card
    from batchgrad.errors import *  # noqa: F403
    from batchgrad.parsing.spec_files import load_gradients, load_job
    from batchgrad.user_machine.private_service import local

    __all__ = ["AsyncClient", "Card", "Client", "__version__"]
    __all__ += ["load_gradients", "load_job", "local", "read_card"]
    __all__ += contract.__all__
    __all__ += errors.__all__

_MODULES = {
    "AsyncClient": "client",
    "Client": "client",
    "load_job": "parsing.spec_files",
    "load_gradients": "parsing.spec_files",
    "Card": "downloads.card",
    "read_card": "downloads.reading",
    "local": "user_machine.private_service",
}
_WHOLE_MODULES = ("errors", "contract")


if not TYPE_CHECKING:  # a type checker would take every name for one that this finds

    def __getattr__(name: str) -> Any:
        """A public name, imported at its first use: the command line's help needs no HTTP."""
        if name == "__all__":
            return _names()
        if name in _MODULES:
            return getattr(_module(_MODULES[name]), name)
        if name[:1].isupper():
            for module in map(_module, _WHOLE_MODULES):
                if name in module.__all__:
                    return getattr(module, name)
        raise AttributeError(f"module 'batchgrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for completion in a shell."""
    return sorted({*globals(), *_names()})


def _module(name: str) -> Any:
    return importlib.import_module(f"batchgrad.{name}")


def _names() -> list[str]:
    whole = (name for module in _WHOLE_MODULES for name in _module(module).__all__)
    return ["__version__", *_MODULES, *whole]
