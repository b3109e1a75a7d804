"""The reference of names whose modules can't be imported here, from their source code."""

import ast
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path

Documented = ast.FunctionDef | ast.ClassDef


def from_source(module: str, name: str) -> Iterator[tuple[str, str, str]]:
    """Name, signature and docstring of a function; of a class its own and its public methods'."""
    found = next(one for one in _definitions(module) if one.name == name)
    if isinstance(found, ast.FunctionDef):
        yield name, _signature(found), _text(found)
        return
    yield name, _fields(found), _text(found)
    for member in found.body:
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
            is_property = any(ast.unparse(each) == "property" for each in member.decorator_list)
            signature = "" if is_property else _signature(member)
            yield f"{name}.{member.name}", signature, _text(member)


def _definitions(module: str) -> Iterator[Documented]:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"There is no module {module}.")
    for one in ast.parse(Path(spec.origin).read_text("utf-8")).body:
        if isinstance(one, Documented):
            yield one


def _signature(function: ast.FunctionDef) -> str:
    arguments = ast.unparse(function.args).removeprefix("self, ").removeprefix("self")
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"({arguments}){returns}"


def _fields(found: ast.ClassDef) -> str:
    """The arguments of a class: its annotated fields, or those of __init__."""
    for member in found.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return _signature(member).removesuffix(" -> None")
    fields = [ast.unparse(one) for one in found.body if isinstance(one, ast.AnnAssign)]
    return f"({', '.join(fields)})"


def _text(found: Documented) -> str:
    return inspect.cleandoc(ast.get_docstring(found) or "")
