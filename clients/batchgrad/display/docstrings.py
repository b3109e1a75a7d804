"""Keep the docstrings that help and /docs are made of where Python drops them (-OO)."""

import ast
import inspect
import textwrap
from typing import Any


def keep(documented: Any) -> None:
    """Give a function or class its docstring back, from its source, if there is any."""
    if documented.__doc__ is not None:
        return
    try:
        source = textwrap.dedent(inspect.getsource(documented))
    except OSError:  # installed without sources
        return
    [definition] = ast.parse(source).body
    if isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        documented.__doc__ = ast.get_docstring(definition)


def keep_below(base: type[Any]) -> None:
    """The same for every class that derives from `base`."""
    for kind in base.__subclasses__():
        keep(kind)
        keep_below(kind)
