"""Checks of the arguments of ready tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from batchgrad.errors import InvalidArgument
from batchgrad.parsing import arguments
from batchgrad.parsing.plain import unwrapped


def check_module(module: Any) -> None:
    """Raise InvalidArgument if it is no module."""
    if isinstance(module, nn.Module):
        _check_not_compiled(module)
        return
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise InvalidArgument(
            f"module is the class {module.__name__}; expected a module: {module.__name__}(…)."
        )
    raise InvalidArgument(f"module is a {type(module).__name__}; expected a torch.nn.Module.")


def _check_not_compiled(module: nn.Module) -> None:
    for name, each in module.named_modules():
        if type(each).__name__ == "OptimizedModule":  # its class is in torch._dynamo, slow to load
            raise InvalidArgument(
                f"{name or 'module'} is compiled by torch.compile, which hides the calls of its "
                "parameters: give the module that was compiled."
            )


def check_name(argument: str, name: Any) -> str:
    """The name of an array of the dataset."""
    checked = arguments.text(argument, name)
    if checked in {"weights", "units"}:
        raise InvalidArgument(
            f"{argument} is {checked!r}, the dataset's own array, which a module does not get: "
            "name another one."
        )
    return checked


def check_share(argument: str, value: Any) -> float:
    """A number from 0 to below 1."""
    number = unwrapped(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1:
        raise InvalidArgument(f"{argument} is {value!r:.60}; expected a number from 0 to below 1.")
    return float(number)


@contextmanager
def known_classes(targets: str, outputs: Tensor) -> Iterator[None]:
    """Inside, an error about a class that `outputs`, (…, C), have no logit for names `targets`."""
    try:
        yield
    except IndexError as error:
        count = outputs.shape[-1]
        raise InvalidArgument(
            f"{targets} has a class without an output: {str(error).rstrip('.')}. The module gives "
            f"{count} outputs, for the classes 0 to {count - 1}: give it more outputs, or number "
            f"the classes from 0 on, as numpy.unique({targets}, return_inverse=True)[1] does."
        ) from error
