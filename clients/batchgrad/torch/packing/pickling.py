"""Pickles of tasks: code of the user by value, tensors left out, the same bytes in each run."""

import dis
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn

from batchgrad.errors import InvalidArgument

PROTOCOL = 5
STATE, CONSTANT, SET = "state", "constant", "set"
"""Kinds of persistent ids: a tensor of the state, another tensor, and a set in order."""

_OWN = ("batchgrad", "batchgrad_workers", "batchgrad_engine", "batchgrad_service")
_TRACKER = re.compile(r"[0-9a-f]{32}")
_ORDERED = (str, bytes, int, float)


def pickled(value: Any, module: nn.Module, state: Mapping[int, str]) -> tuple[bytes, list[Tensor]]:
    """The pickle of `value` without its tensors, and those that are not of its state.

    `state` has the names of the tensors of the module's state, by their id. Classes and functions
    of scripts, notebooks, the working folder and the script's are part of the pickle.

    Raises:
        InvalidArgument: a function refers to the module by a variable, so that it would not see
            the copies that are trained.
        Exception: whatever an object raises that can't be pickled.
    """
    file = BytesIO()
    pickler = _Pickler(file, state, {id(each): name for name, each in module.named_modules()})
    with _user_folders_by_value():
        pickler.dump(value)
    return file.getvalue(), list(pickler.constants.values())


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Leaves tensors out; what depends on the run, such as absolute paths, becomes the same."""

    def __init__(self, file: BytesIO, state: Mapping[int, str], modules: Mapping[int, str]) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self.state, self.modules = state, modules
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
        if isinstance(value, FunctionType):
            self._check(value)
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

    def _check(self, function: FunctionType) -> None:
        """Raise InvalidArgument if a variable of the function is the module, or a part of it."""
        for name, value in _variables(function):
            known = self.modules if isinstance(value, nn.Module) else self.state
            if id(value) not in known:
                continue
            of = known[id(value)]
            what = f"{of} of the module" if of else "the module"
            raise InvalidArgument(
                f"The function {function.__qualname__}, line {function.__code__.co_firstlineno} of "
                f"{_short(function.__code__.co_filename)}, uses {what} by its variable {name}, and "
                "would not see the copies of it that are trained: use the argument module of the "
                "task's outputs, or make the function a method."
            )


def _variables(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables that a function uses from outside of it."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable that has no value yet
            yield name, cell.cell_contents
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL" and step.argval in function.__globals__:
            yield step.argval, function.__globals__[step.argval]


def _forget_place(names: dict[str, Any]) -> None:
    """Leave out of a module's names where its file is, and what has imported it."""
    for name in ("__loader__", "__spec__", "__cached__", "__path__"):
        names.pop(name, None)
    if isinstance(names.get("__file__"), str):
        names["__file__"] = _short(names["__file__"])


def _short(file: str) -> str:
    """A path from the user's folder on; of a file elsewhere, its name."""
    path = Path(file)
    if not path.is_absolute():
        return file
    inside = [path.relative_to(folder) for folder in _folders() if path.is_relative_to(folder)]
    return str(inside[0] if inside else path.name)


def _folders() -> list[Path]:
    """The working folder, and that of the script that runs, whose modules it imports by name."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return [Path.cwd(), *([Path(script).resolve().parent] if isinstance(script, str) else [])]


@contextmanager
def _user_folders_by_value() -> Iterator[None]:
    """In the block, what is defined in modules of the user's folders is pickled by value."""
    known = set(cloudpickle.list_registry_pickle_by_value())
    own = [each for each in _modules_below(_folders()) if each.__name__ not in known]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _modules_below(folders: list[Path]) -> list[ModuleType]:
    paths = sysconfig.get_paths()
    installed = [Path(paths[name]) for name in ("stdlib", "purelib", "platlib")]
    installed += [Path(torch.__file__).parents[1], Path(cloudpickle.__file__).parents[1]]
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(file, str) or name.partition(".")[0] in _OWN:
            continue
        path = Path(file).resolve()
        inside = any(map(path.is_relative_to, folders))
        if inside and not any(map(path.is_relative_to, installed)):
            found.append(module)
    return found
