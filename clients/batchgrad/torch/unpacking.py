"""A packed task, from the folder of its archive."""

import json
import pickle
import platform
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from batchgrad.errors import Unavailable
from batchgrad.torch.tasks import Task

SPREAD = 0.05


def unpack(folder: Path) -> Task:
    """The task that `batchgrad.torch.packing` wrote into `folder`.

    The values of its module's parameters and buffers are not in it: they are small random numbers
    of torch's generator, and ones, until those of a state_dict are loaded. The module is in
    training mode. Unpickling runs the code in it.

    Raises:
        Unavailable: it was packed by another version of Python.
    """
    about = json.loads((folder / "about.json").read_text("utf-8"))
    here = ".".join(platform.python_version_tuple()[:2])
    if about["python"] != here:
        raise Unavailable(
            f"The task was packed by Python {about['python']}, and this is Python {here}: use the "
            "same version for both, or name a function that builds the task: "
            "model: {torch: package.module:build}."
        )
    with (folder / "task.pkl").open("rb") as file:
        constants = safetensors.torch.load_file(folder / "constants.safetensors")
        task: Task = _Unpickler(file, about, constants).load()
    if not task.module.training:
        task.module.train()
    return task


class _Unpickler(pickle.Unpickler):
    """Puts tensors and sets where the pickle has their persistent ids."""

    def __init__(self, file: Any, about: Any, constants: dict[str, Tensor]) -> None:
        super().__init__(file)
        self._state = {name: _tensor(_unset(one), one) for name, one in about["state"].items()}
        self._constants = [
            _tensor(constants[str(n)], one) for n, one in enumerate(about["constants"])
        ]
        self._sets: dict[int, set[Any] | frozenset[Any]] = {}

    def persistent_load(self, pid: Any) -> Any:
        """The object of a persistent id, the same one for the same id."""
        kind, key, *others = pid
        if kind == "state":
            return self._state[key]
        if kind == "constant":
            return self._constants[key]
        if kind != "set":
            raise pickle.UnpicklingError(f"{kind!r:.60} is no kind of persistent id.")
        frozen, order = others
        return self._sets.setdefault(key, frozenset(order) if frozen else set(order))


def _unset(about: Any) -> Tensor:
    """A tensor whose values are to be loaded: one that no module stumbles over."""
    dtype = getattr(torch, about["dtype"])
    if about["parameter"] and dtype.is_floating_point:
        return torch.empty(about["shape"], dtype=dtype).uniform_(-SPREAD, SPREAD)
    return torch.ones(about["shape"], dtype=dtype)


def _tensor(values: Tensor, about: Any) -> Tensor:
    if about["parameter"]:
        return nn.Parameter(values, requires_grad=about["trainable"])
    return values.requires_grad_(about["trainable"])
