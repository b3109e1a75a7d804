"""Imports go one way, clients ← workers ← service, and Ray stays in three places."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "batchgrad": ROOT / "clients/batchgrad",
    "batchgrad_workers": ROOT / "workers/batchgrad_workers",
    "batchgrad_service": ROOT / "service/batchgrad_service",
}
FORBIDDEN = {
    "batchgrad": {"batchgrad_workers", "batchgrad_service", "numpy", "ray"},
    "batchgrad_workers": {"batchgrad_service"},
    "batchgrad_service": set[str](),
}
RAY = {
    "workers/batchgrad_workers/worker.py",
    "service/batchgrad_service/keeper.py",
    "service/batchgrad_service/engine/executors/ray_actor.py",
    "service/batchgrad_service/engine/executors/ray_calls.py",
    "service/batchgrad_service/engine/executors/ray_connection.py",
    "service/batchgrad_service/engine/executors/ray_nodes.py",
    "service/batchgrad_service/engine/executors/ray_workers.py",
}
PURE = [  # the mathematics, and the step itself: no files, clock of the wall, HTTP or processes
    *(
        f"workers/batchgrad_workers/{name}.py"
        for name in ("activations", "gradients", "losses", "means", "network", "partial")
    ),
    *(str(path.relative_to(ROOT)) for path in (ROOT / "workers").rglob("layers/*.py")),
    *(
        f"service/batchgrad_service/engine/{name}.py"
        for name in (
            "averaging",
            "blocks",
            "comparison",
            "coordinator",
            "dividing",
            "ledger",
            "measuring",
            "optimizers",
            "products",
            "schedules",
            "sharding",
            "shortcuts",
            "stacked",
            "statistics",
            "waiting",
        )
    ),
]
IMPURE = {"os", "io", "pathlib", "logging", "datetime", "socket", "subprocess", "fastapi", "ray"}


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def files(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    wrong = {str(path): imported(path) & FORBIDDEN[package] for path in files(package)}
    assert not {path: names for path, names in wrong.items() if names}


def test_ray_is_imported_in_three_places_only() -> None:
    importing = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in files(package)
        if "ray" in imported(path)
    }
    assert importing == RAY


@pytest.mark.parametrize("path", PURE)
def test_mathematics_knows_nothing_of_its_surroundings(path: str) -> None:
    assert not imported(ROOT / path) & IMPURE
