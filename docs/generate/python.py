"""The reference of the Python package: every public name with its signature and docstring."""

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

import batchgrad
from docs.generate.markdown import fields, table
from docs.generate.sources import from_source

MODULES = ("batchgrad.sklearn", "batchgrad.torch")
"""Modules with public names of their own."""

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):\n((?: {4}.+\n?)+)", re.MULTILINE)


def python() -> str:
    """The page's generated part."""
    public = {name: getattr(batchgrad, name) for name in batchgrad.__all__}
    classes = {name: value for name, value in public.items() if inspect.isclass(value)}
    errors = {name: kind for name, kind in classes.items() if issubclass(kind, Exception)}
    models = {name: kind for name, kind in classes.items() if issubclass(kind, BaseModel)}
    others = {name: kind for name, kind in classes.items() if name not in errors | models}
    functions = {name: value for name, value in public.items() if inspect.isroutine(value)}
    rest = [name for name in public if name not in classes | functions]
    return "\n\n".join(
        [
            "## Classes",
            *(block for name, kind in others.items() for block in _class(name, kind)),
            "## Functions",
            *(
                block
                for name, value in functions.items()
                for block in _function("###", name, value)
            ),
            "## Errors",
            table(("error", "when"), ((f"`{n}`", _first(kind)) for n, kind in errors.items())),
            "## Requests and answers",
            *(block for name, model in models.items() for block in _model(name, model)),
            "## Constants and type aliases",
            "\n".join(f"- `{name}`{_values(public[name])}" for name in rest),
            *(block for name in MODULES for block in _module(name)),
        ]
    )


def _values(value: Any) -> str:
    """The texts that an alias of Literal allows, or a mapping has as keys; else ""."""
    found = get_args(value) or (value if isinstance(value, Mapping | tuple | frozenset) else ())
    texts = sorted(one for one in found if isinstance(one, str))
    return f": {', '.join(texts)}" if texts else ""


def _module(name: str) -> Iterator[str]:
    module = importlib.import_module(name)
    yield f"## `{name}`"
    yield _first(module)
    for public in module.__all__:
        if place := getattr(module, "_MODULES", {}).get(public):  # it imports PyTorch
            yield from _unimported(f"{name}.{place}", public)
            continue
        value = getattr(module, public)
        if inspect.isclass(value):
            yield from _class(public, value)
        else:
            yield from _function("###", public, value)


def _unimported(module: str, name: str) -> Iterator[str]:
    for member, signature, text in from_source(module, name):
        yield f"{'####' if '.' in member else '###'} `{member}`"
        if signature:
            yield f"```python\n{member.rpartition('.')[2]}{signature}\n```"
        yield _sections(text)


def _class(name: str, kind: type) -> Iterator[str]:
    yield from _function("###", name, kind)
    for member, value in inspect.getmembers(kind):
        if member.startswith("_") or not _is_own(value):
            continue
        if kind is batchgrad.AsyncClient:  # it has the methods of Client
            continue
        if inspect.isroutine(value):
            yield from _function("####", f"{name}.{member}", value)
        else:
            yield f"#### `{name}.{member}`"
            yield inspect.getdoc(value) or ""


def _is_own(member: Any) -> bool:
    """Whether it is this project's, not inherited from a library's class."""
    function = member.fget if isinstance(member, property) else member
    return str(getattr(function, "__module__", "")).startswith("batchgrad")


def _function(heading: str, name: str, value: Any) -> Iterator[str]:
    signature = str(inspect.signature(value)).replace("(self, ", "(").replace("(self)", "()")
    plain = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])|~", "", signature)
    plain = re.sub(r"(: |-> )'([^']*)'", r"\1\2", plain)  # an annotation that is a text
    plain = re.sub(r"<built-in function (\w+)>", r"\1", plain)
    yield f"{heading} `{name}`"
    yield f"```python\n{name.rpartition('.')[2]}{plain}\n```"
    yield _text(value)


def _text(value: Any) -> str:
    """A docstring; its sections (Args, Raises, …) become lists."""
    return _sections(inspect.getdoc(value) or "")


def _sections(text: str) -> str:
    return _SECTION.sub(_as_list, text)


def _as_list(section: re.Match[str]) -> str:
    lines = textwrap.dedent(section[2])
    return f"**{section[1]}**\n\n" + re.sub(r"^([\w, ]+):", r"- `\1`:", lines, flags=re.MULTILINE)


def _model(name: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"### `{name}`"
    yield _text(model)
    yield fields(model)


def _first(kind: object) -> str:
    return (inspect.getdoc(kind) or "").replace("\n\n", " ").replace("\n", " ")
