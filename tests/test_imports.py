"""Imports go one way, between packages and inside them; Ray and impure modules stay where they are.

clients ← workers ← engine ← service. Inside a package the children of each folder (its folders,
and its own modules) import each other in one direction only.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "batchgrad": ROOT / "clients/batchgrad",
    "batchgrad_workers": ROOT / "workers/batchgrad_workers",
    "batchgrad_engine": ROOT / "service/batchgrad_engine",
    "batchgrad_service": ROOT / "service/batchgrad_service",
}
FORBIDDEN = {
    "batchgrad": {"batchgrad_workers", "batchgrad_engine", "batchgrad_service", "numpy", "ray"},
    "batchgrad_workers": {"batchgrad_engine", "batchgrad_service"},
    "batchgrad_engine": {"batchgrad_service"},
    "batchgrad_service": set[str](),
}
MOST_MODULES = 14
"""In a folder, beside its __init__.py."""

RAY = {
    "workers/batchgrad_workers/runtime/actor.py",
    "service/batchgrad_service/ray_head/process.py",
    "service/batchgrad_engine/executors/ray/actor.py",
    "service/batchgrad_engine/executors/ray/connection.py",
    "service/batchgrad_engine/executors/ray/exchange.py",
    "service/batchgrad_engine/executors/ray/executor.py",
    "service/batchgrad_engine/executors/ray/nodes.py",
    "service/batchgrad_engine/executors/ray/transport.py",
}
TORCH = ("workers/batchgrad_workers/torch/", "clients/batchgrad/torch/")
PURE_FOLDERS = [  # the mathematics, and the step itself: no files, wall clock, HTTP or processes
    "workers/batchgrad_workers/nn",
    "workers/batchgrad_workers/reduction",
    "service/batchgrad_engine/measurement",
    "service/batchgrad_engine/training",
]
PURE = sorted(
    str(path.relative_to(ROOT)) for folder in PURE_FOLDERS for path in (ROOT / folder).rglob("*.py")
)
IMPURE = {"os", "io", "pathlib", "logging", "datetime", "socket", "subprocess", "fastapi", "ray"}


def module_name(path: Path) -> str:
    package = next(name for name, folder in PACKAGES.items() if path.is_relative_to(folder))
    parts = path.relative_to(PACKAGES[package]).with_suffix("").parts
    return ".".join([package, *(part for part in parts if part != "__init__")])


FILES = sorted(
    path
    for folder in PACKAGES.values()
    for path in folder.rglob("*.py")
    if "migrations" not in path.parts  # Alembic loads them by path
)
MODULES = {module_name(path): path for path in FILES}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it; `from package import name` as both."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in whole)


IMPORTS = {path: set(imports(path)) for path in FILES}
FOLDERS = sorted({path.parent for path in FILES})


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    files = [path for path in FILES if path.is_relative_to(PACKAGES[package])]
    assert files
    wrong = {str(path): top(IMPORTS[path]) & FORBIDDEN[package] for path in files}
    assert not {path: names for path, names in wrong.items() if names}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_children_of_a_folder_import_one_way(folder: Path) -> None:
    graph: dict[str, set[str]] = {}
    for path in FILES:
        if path.is_relative_to(folder):
            below = [MODULES[name] for name in IMPORTS[path] if name in MODULES]
            child = path.relative_to(folder).parts[0]
            imported = {p.relative_to(folder).parts[0] for p in below if p.is_relative_to(folder)}
            graph.setdefault(child, set()).update(imported - {child})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"{error.args[1]}")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_folder_holds_few_modules(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.stem != "__init__"]) <= MOST_MODULES


def test_ray_is_imported_in_few_places() -> None:
    importing = {str(path.relative_to(ROOT)) for path in FILES if "ray" in top(IMPORTS[path])}
    assert importing == RAY


def test_scipy_is_imported_at_its_first_use() -> None:
    importing = [str(path.relative_to(ROOT)) for path in FILES if "scipy" in top(IMPORTS[path])]
    assert importing == ["workers/batchgrad_workers/nn/special.py"]


def test_only_the_accountant_imports_dp_accounting() -> None:
    """The import takes 0.7 s, and no engine or service needs it."""
    accounting = {path for path in FILES if "dp_accounting" in top(IMPORTS[path])}
    assert accounting == {ROOT / "service/batchgrad_engine/privacy/accountant/library.py"}
    folder = "batchgrad_engine.privacy.accountant."
    users = {path for path in FILES for name in IMPORTS[path] if name.startswith(folder)}
    outside = {path for path in users if path.parent.name != "accountant"}
    assert {f"{path.parent.name}/{path.name}" for path in outside} == {
        "privacy/accountant_process.py",
        "privacy/planning.py",
    }


def test_torch_is_imported_in_its_folders_alone() -> None:
    importing = {str(path.relative_to(ROOT)) for path in FILES if "torch" in top(IMPORTS[path])}
    assert importing
    assert not {path for path in importing if not path.startswith(TORCH)}


def test_nothing_but_the_extra_torch_brings_pytorch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    names = {extra: {re.split(r"\W", one)[0] for one in each} for extra, each in lists.items()}
    assert {extra for extra, each in names.items() if "torch" in each} == {"torch"}


def test_mathematics_knows_nothing_of_its_surroundings() -> None:
    assert len(PURE) > 40
    wrong = {path: top(IMPORTS[ROOT / path]) & IMPURE for path in PURE}
    assert not {path: names for path, names in wrong.items() if names}
