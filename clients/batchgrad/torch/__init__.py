"""PyTorch modules as tasks of jobs, and networks of batchgrad as modules and the other way round.

This module loads PyTorch when one of its names is used first.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchgrad.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from batchgrad.contract import Job
    from batchgrad.torch.observing.observer import observe
    from batchgrad.torch.ready.classes import classification
    from batchgrad.torch.ready.naming import task
    from batchgrad.torch.ready.tokens import causal_language_model, token_classification
    from batchgrad.torch.ready.values import regression
    from batchgrad.torch.tasks import Task
    from batchgrad.torch.training import Trained, train

__all__ = [
    "Task",
    "Trained",
    "causal_language_model",
    "classification",
    "from_torch",
    "load",
    "observe",
    "regression",
    "task",
    "to_torch",
    "token_classification",
    "train",
]

_MODULES = {
    "Task": "tasks",
    "classification": "ready.classes",
    "regression": "ready.values",
    "causal_language_model": "ready.tokens",
    "token_classification": "ready.tokens",
    "task": "ready.naming",
    "Trained": "training",
    "train": "training",
    "observe": "observing.observer",
}


if not TYPE_CHECKING:  # a type checker would take every name for one that this finds

    def __getattr__(name: str) -> Any:
        """A public name; the modules that hold them import torch."""
        if name in _MODULES:
            _check_installed()
            return getattr(importlib.import_module(f"batchgrad.torch.{_MODULES[name]}"), name)
        raise AttributeError(f"module 'batchgrad.torch' has no attribute {name!r}")


def to_torch(source: "Job | str | Path | bytes") -> Any:
    """A torch.nn.Sequential with the parameters of a job, or of a safetensors download.

    `source` is a job that a client gave, a path, or a file's bytes. Parameters have the names that
    they have in the file. If arrays were standardized, the first module, `standardize`, does it; of
    a table the network takes encoded rows, see `Card.encode`. Its outputs are the network's, before
    a loss's softmax or sigmoid. It is in evaluation mode, so that dropout does nothing.

    Raises:
        InvalidArgument: it is no safetensors download, or has no layers in its card.
        FileFailed: the file can't be read.
        Unavailable: PyTorch is not installed.
    """
    _check_installed()
    from batchgrad.torch.networks.exporting import sequential  # noqa: PLC0415 (it imports torch)

    return sequential(_content(source))


def load(module: Any, source: "Job | str | Path | bytes") -> Any:
    """Copy the parameters of a job, or of a safetensors download, into a module, and return it.

    `source` is a job that a client gave, a path, or a file's bytes. Names and shapes must be those
    of the module; only its frozen parameters and its buffers may be missing in the file.

    Raises:
        InvalidArgument: it is no safetensors file, or does not fit; then the module is as before.
        FileFailed: the file can't be read.
        Unavailable: PyTorch is not installed.
    """
    _check_installed()
    from batchgrad.torch.loading import load_content  # noqa: PLC0415 (it imports torch)

    load_content(module, _content(source))
    return module


def exported(content: bytes) -> bytes:
    """The network of a safetensors download as a file of torch.export, .pt2, with its card.

    torch.export.load(FILE).module() runs it, without batchgrad.

    Raises:
        InvalidArgument: it is no safetensors download, or has no layers in its card.
        Unavailable: PyTorch is not installed.
    """
    _check_installed()
    from batchgrad.torch.networks.exporting import program  # noqa: PLC0415 (it imports torch)

    return program(content)


def from_torch(network: Any) -> dict[str, Any]:
    """The keys of a spec that train `network`, a torch.nn.Sequential, from its parameters.

    They are `model`, `precision` and `initial_parameters`, and `standardize` if the network begins
    with the module `standardize` of `to_torch`: client.submit({"name": …, **from_torch(network)}).

    Raises:
        InvalidArgument: a module has no counterpart; the message names it.
        Unavailable: PyTorch is not installed.
    """
    _check_installed()
    from batchgrad.torch.networks.importing import spec_keys  # noqa: PLC0415 (it imports torch)

    return spec_keys(network)


def _check_installed() -> None:
    try:
        import torch  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise Unavailable("PyTorch is not installed: pip install torch.") from error


def _content(source: Any) -> bytes:
    from batchgrad.contract import Job  # noqa: PLC0415 (pydantic)
    from batchgrad.downloads.reading import content_of  # noqa: PLC0415

    if not isinstance(source, Job):
        return content_of(source)
    client = source._origin.client  # noqa: SLF001 (set for methods like this)
    if client is None:
        raise InvalidArgument(
            f"No client gave job {source.id}: give client.parameters({source.id!r})."
        )
    content = client.parameters(source.id)
    if not isinstance(content, bytes):
        content.close()
        raise InvalidArgument(
            f"An AsyncClient gave job {source.id}: give await client.parameters({source.id!r})."
        )
    return content
