"""The code archive of a task, whose function `build` gives the task again, and its tensors."""

import hashlib
import json
import platform
import zipfile
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from batchgrad.errors import InvalidArgument
from batchgrad.torch.copies import lost
from batchgrad.torch.packing.pickling import pickled
from batchgrad.torch.tasks import Task

INIT = '''"""A task that batchgrad.torch packed."""

from pathlib import Path

from batchgrad.torch.unpacking import unpack


def build(config):
    """The task, without the values of its module's parameters and buffers."""
    return unpack(Path(__file__).parent)
'''

_DATE = (1980, 1, 1, 0, 0, 0)
_WIDENED = {torch.float16, torch.bfloat16}


@dataclass(frozen=True)
class Packed:
    """A task for a service.

    `function` is the spec's `model.torch`, `archive` the zip file of its code, `parameters` a
    safetensors file with the values of parameters and buffers, `precision` the spec's.
    """

    function: str
    archive: bytes
    parameters: bytes
    precision: str


def pack(task: Task) -> Packed:
    """The code archive and the initial parameters of a task.

    Classes and functions of the script or notebook, and of modules below the working folder or the
    script's, are in the archive; others are imported where the task is unpacked. Tensors that two
    modules share are shared there too. What was packed has the same bytes in each run. A module
    that is in evaluation mode is in training mode where it is unpacked; one in training mode keeps
    the modes of its submodules.

    Raises:
        InvalidArgument: a part of the task can't be pickled, or has no values yet, or a function
            refers to the module by a variable; or the module has what its copies would not have.
    """
    state = tensors_of(task.module)
    if words := lost(task.module):
        raise InvalidArgument(words)
    names = {id(tensor): name for name, tensor in state.items()}
    try:
        content, constants = pickled(task, task.module, names)
    except InvalidArgument:
        raise
    except Exception as error:  # whatever an object of the user raises
        raise InvalidArgument(
            f"The task cannot be packed: {type(error).__name__}: {error!s:.500}. Remove what cannot"
            " be pickled from the module and the functions of its task, or give the name of a "
            "function that builds the task: model: {torch: package.module:build}."
        ) from error
    about = {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "torch": torch.__version__,
        "state": {
            name: {
                "dtype": str(each.dtype).removeprefix("torch."),
                "shape": list(each.shape),
                "parameter": isinstance(each, nn.Parameter),
                "trainable": each.requires_grad,
            }
            for name, each in state.items()
        },
        "constants": [
            {"parameter": isinstance(each, nn.Parameter), "trainable": each.requires_grad}
            for each in constants
        ],
    }
    files = {
        "__init__.py": INIT.encode(),
        "about.json": json.dumps(about, indent=1).encode(),
        "constants.safetensors": _saved({str(n): each for n, each in enumerate(constants)}),
        "task.pkl": content,
    }
    digest = hashlib.sha256(b"".join(chain.from_iterable(_framed(each) for each in files.items())))
    name = f"batchgrad_task_{digest.hexdigest()[:16]}"
    wide = any(each.dtype == torch.float64 for each in task.module.parameters())
    return Packed(
        f"{name}:build",
        _zipped({f"{name}/{path}": each for path, each in files.items()}),
        _saved({name: _wide(each) for name, each in state.items()}),
        "float64" if wide else "float32",
    )


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """The parameters and the buffers of a state_dict by name, those of several names once.

    Raises:
        InvalidArgument: one of them has no values.
    """
    kept = set(module.state_dict(keep_vars=True))
    named: dict[str, Tensor] = dict(module.named_parameters())
    named |= {name: each for name, each in module.named_buffers() if name in kept}
    for name, each in named.items():
        if is_lazy(each):
            raise InvalidArgument(
                f"{name} has no shape yet: call the module once, on the inputs of an example."
            )
        if each.is_meta:
            raise InvalidArgument(
                f"{name} is on the device meta, without values: build the module on the CPU."
            )
    return named


def _wide(tensor: Tensor) -> Tensor:
    """Half precision as float32, which jobs train in."""
    return tensor.float() if tensor.dtype in _WIDENED else tensor


def _saved(tensors: dict[str, Tensor]) -> bytes:
    plain = {
        name: each.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, each in tensors.items()
    }
    content: bytes = safetensors.torch.save(plain)
    return content


def _framed(file: tuple[str, bytes]) -> list[bytes]:
    """A name and its content with their lengths, so that no two sets of files look alike."""
    name, content = file
    return [f"{name} {len(content)} ".encode(), content]


def _zipped(files: dict[str, bytes]) -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for name, content in files.items():
            entry: Any = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix, wherever this runs
            file.writestr(entry, content)
    return archive.getvalue()
