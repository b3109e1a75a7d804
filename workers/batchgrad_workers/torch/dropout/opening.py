"""Bodies of torch's Python functions, run so that a mode sees the calls inside them."""

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

from torch.nn import functional


def no_overrides(*_: object) -> bool:
    """The answer that makes a function of torch run its own body."""
    return False


QUESTIONS = [name for name in vars(functional) if name.startswith("has_torch_function")]


@cache
def opened(function: Callable[..., Any]) -> Callable[..., Any]:
    """The body of a Python function of torch, without asking for a mode first.

    Such a function first asks whether a mode wants the whole call. A mode that would rather see
    the calls inside runs this body, with itself switched on again: `with self: opened(f)(…)`.
    """
    own = FunctionType(
        function.__code__,
        {**function.__globals__, **dict.fromkeys(QUESTIONS, no_overrides)},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    own.__kwdefaults__ = function.__kwdefaults__
    return own
