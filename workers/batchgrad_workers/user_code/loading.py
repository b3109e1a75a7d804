"""The task of a PyTorch job from its code: the function is found, imported and called.

This module does not need PyTorch; only `load_task` imports it.
"""

import importlib
import inspect
import platform
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

from batchgrad.contract.training.module import JobModel
from batchgrad.parsing.suggestions import suggest
from batchgrad_workers.user_code.errors import UserCodeError, user_errors
from batchgrad_workers.user_code.sources import CodeSource, is_within, keep_importable


def load_task(model: JobModel, source: CodeSource | None, seed: int) -> Any:
    """The batchgrad.torch Task that the function `model.torch` builds from `model.config`.

    Random numbers of torch, numpy and Python begin at `seed` in the function, and are as before
    after it. The code stays importable until the process ends.

    Raises:
        UserCodeError: the function can't be imported, raised an error, or returned no Task; or
            PyTorch is not installed.
    """
    function = find_function(model, source)
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise UserCodeError(
            f"{model.torch} needs PyTorch, which is not installed here: pip install "
            "'batchgrad[torch]' on the service's host and on every node."
        ) from error
    task_type = importlib.import_module("batchgrad.torch.tasks").Task
    _check_argument(model, function)
    with user_errors(model.package), torch.random.fork_rng(devices=[]), _seeded(seed):
        torch.manual_seed(seed)
        task = function(deepcopy(model.config))
    if not isinstance(task, task_type):
        kind = type(task)
        hint = "Task(module, outputs, losses), or one of batchgrad.torch's ready tasks"
        raise UserCodeError(
            f"{model.torch} returned {kind.__module__}.{kind.__qualname__}; expected a "
            f"batchgrad.torch Task: return {hint}."
        )
    return task


def _check_argument(model: JobModel, function: Callable[..., Any]) -> None:
    """Raise UserCodeError if the function does not take one argument."""
    try:
        parameters = inspect.signature(function)
    except ValueError:  # one of C tells nothing
        return
    try:
        parameters.bind(model.config)
    except TypeError as error:
        raise UserCodeError(
            f"{model.torch} takes {parameters}; it is called with one argument, model.config: "
            f"define {function.__name__}(config)."
        ) from error


def find_function(model: JobModel, source: CodeSource | None) -> Callable[[Any], Any]:
    """The function that `model.torch` names; it is not called. Its code stays importable.

    Raises:
        UserCodeError: it can't be imported, or belongs to another package than its name says.
    """
    code = keep_importable(source) if source is not None else None
    name, _, attribute = (model.torch or "").partition(":")
    with user_errors(model.package):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # a module that the user's own code lacks
            raise UserCodeError(_not_found(name, error.name, source, code)) from error
    if code is not None and not is_within(module, code):
        raise UserCodeError(
            f"{name} was imported from {_place(module)}, not from the uploaded code, which holds "
            f"{_top_names(code)}: rename the package, or remove model.code."
        )
    found = getattr(module, attribute, None)
    if found is None:
        known = [key for key, value in vars(module).items() if _is_own(value, name)]
        meant = suggest(attribute, known)
        hint = f"did you mean {meant}?" if meant else f"it defines {', '.join(known) or 'none'}."
        raise UserCodeError(f"{name} has no function {attribute}; {hint}")
    if not callable(found):
        raise UserCodeError(
            f"{model.torch} is of type {type(found).__name__}; expected a function of the "
            "configuration that returns a batchgrad.torch Task."
        )
    if not _is_own(found, name):
        raise UserCodeError(
            f"{model.torch} is defined in {getattr(found, '__module__', None)}, another package: "
            "name the function where it is defined, or write one that calls it."
        )
    function: Callable[[Any], Any] = found
    return function


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    numpy = importlib.import_module("numpy")
    own, numpys = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(own)
        numpy.random.set_state(numpys)


def _is_own(value: object, name: str) -> bool:
    """Whether a function or class is defined in the same top package as module `name`."""
    of = getattr(value, "__module__", None)
    top = name.partition(".")[0]
    return callable(value) and isinstance(of, str) and of.partition(".")[0] == top


def _place(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or "this Python itself")


def _not_found(name: str, missing: str, source: CodeSource | None, code: Path | None) -> str:
    start = f"{name} can't be imported: there is no module {missing}"
    if code is not None:
        return f"{start} in the uploaded code, which holds {_top_names(code)}."
    if source is not None and source.search_path is not None:
        where = f"neither in {source.search_path} nor among the installed packages"
        return f"{start}, {where}, of the host {platform.node()}: check the name."
    return (
        f"{start} on the host {platform.node()}: install the package for the Python of the "
        "service, and on every node."
    )


def _top_names(code: Path) -> str:
    """The modules and packages of a folder with code."""
    names = sorted(
        each.stem if each.suffix == ".py" else each.name
        for each in code.iterdir()
        if each.suffix == ".py" or (each.is_dir() and each.suffix not in {".dist-info", ".data"})
    )
    return ", ".join(names[:10]) or "no module"
