"""Restore docstrings that Python drops (-OO): help and /docs are made of them."""

import ast
import inspect
import textwrap
from typing import Any


def restore(documented: Any) -> None:
    """Restore the docstring of a function or class from its source."""
    if documented.__doc__ is not None:
        return
    try:
        source = textwrap.dedent(inspect.getsource(documented))
    except OSError:  # installed without sources
        return
    [definition] = ast.parse(source).body
    if isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        documented.__doc__ = ast.get_docstring(definition)


def restore_in_subclasses(base: type[Any]) -> None:
    """Restore the docstrings of all classes that derive from `base`."""
    for kind in base.__subclasses__():
        restore(kind)
        restore_in_subclasses(kind)
