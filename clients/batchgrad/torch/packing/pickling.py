"""Pickles of tasks: code of the user by value, tensors left out, the same bytes in each run."""

import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn

PROTOCOL = 5
STATE, CONSTANT, SET = "state", "constant", "set"
"""Kinds of persistent ids: a tensor of the state, another tensor, and a set in order."""

_OWN = ("batchgrad", "batchgrad_workers", "batchgrad_engine", "batchgrad_service")
_TRACKER = re.compile(r"[0-9a-f]{32}")
_ORDERED = (str, bytes, int, float)


def pickled(value: Any, state: Mapping[int, str]) -> tuple[bytes, list[Tensor]]:
    """The pickle of `value` without its tensors, and those that are not of its state.

    `state` has the names of the tensors of the state, by their id. Classes and functions of
    scripts, notebooks and the working folder are part of the pickle.

    Raises: whatever an object raises that can't be pickled.
    """
    file = BytesIO()
    pickler = _Pickler(file, state)
    with _working_folder_by_value(Path.cwd()):
        pickler.dump(value)
    return file.getvalue(), list(pickler.constants.values())


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Leaves tensors out; what depends on the run, such as absolute paths, becomes the same."""

    def __init__(self, file: BytesIO, state: Mapping[int, str]) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self.state = state
        self.constants: dict[int, Tensor] = {}
        self.sets: dict[int, set[Any] | frozenset[Any]] = {}

    def persistent_id(self, value: Any) -> Any:
        """What stands for a tensor or a set, of which the order would change; else None."""
        if type(value) in {Tensor, nn.Parameter}:
            if id(value) in self.state:
                return STATE, self.state[id(value)]
            self.constants.setdefault(id(value), value)
            return CONSTANT, list(self.constants).index(id(value))
        if type(value) in {set, frozenset} and all(type(one) in _ORDERED for one in value):
            self.sets.setdefault(id(value), value)
            order = sorted(value, key=lambda one: (type(one).__name__, one))
            return SET, list(self.sets).index(id(value)), type(value) is frozenset, order
        return None

    def reducer_override(self, value: Any) -> Any:
        """Names of files without their folders; classes without a number of this process."""
        if isinstance(value, CodeType):
            reduce: Callable[[CodeType], Any] = self.dispatch_table[CodeType]
            return reduce(value.replace(co_filename=_short(value.co_filename)))
        if isinstance(value, ModuleType):
            reduced = self.dispatch_table[ModuleType](value)
        else:
            reduced = super().reducer_override(value)
        if isinstance(value, type) and isinstance(reduced, tuple):
            function, arguments, *others = reduced
            plain = (
                None if isinstance(one, str) and _TRACKER.fullmatch(one) else one
                for one in arguments
            )
            return function, tuple(plain), *others
        if isinstance(value, FunctionType | ModuleType) and isinstance(reduced, tuple):
            for argument in reduced[1]:
                if isinstance(argument, dict):
                    _forget_place(argument)
        return reduced


def _forget_place(names: dict[str, Any]) -> None:
    """Leave out of a module's names where its file is, and what has imported it."""
    for name in ("__loader__", "__spec__", "__cached__", "__path__"):
        names.pop(name, None)
    if isinstance(names.get("__file__"), str):
        names["__file__"] = _short(names["__file__"])


def _short(file: str) -> str:
    """A path from the working folder on; of a file elsewhere, its name."""
    path = Path(file)
    folder = Path.cwd()
    if path.is_absolute():
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path.name)
    return file


@contextmanager
def _working_folder_by_value(folder: Path) -> Iterator[None]:
    """In the block, what is defined in modules below `folder` is pickled by value."""
    known = set(cloudpickle.list_registry_pickle_by_value())
    own = [each for each in _modules_below(folder) if each.__name__ not in known]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _modules_below(folder: Path) -> list[ModuleType]:
    paths = sysconfig.get_paths()
    installed = [Path(paths[name]) for name in ("stdlib", "purelib", "platlib")]
    installed += [Path(torch.__file__).parents[1], Path(cloudpickle.__file__).parents[1]]
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(file, str) or name.partition(".")[0] in _OWN:
            continue
        path = Path(file).resolve()
        if path.is_relative_to(folder) and not any(map(path.is_relative_to, installed)):
            found.append(module)
    return found
