"""The digest of the code that a task was built from."""

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from batchgrad.contract.training.module import JobModel
from batchgrad_workers.user_code.errors import INSTALLED, OWN
from batchgrad_workers.user_code.sources import CodeSource


def source_digest(model: JobModel, source: CodeSource | None) -> str:
    """SHA-256 over the code that `load_task` has imported, "sha256:…".

    Of uploaded code, its own digest. Of a package, over the names and contents of its .py files. Of
    a single module, over it and all imported modules from the same folder, unless that is where
    packages are installed.
    """
    if source is not None and source.digest:
        return source.digest
    sha = hashlib.sha256()
    for name, path in _named_files(model):
        content = path.read_bytes()
        sha.update(f"{name}\0{len(content)}\0".encode())
        sha.update(content)
    return f"sha256:{sha.hexdigest()}"


def source_files(model: JobModel, source: CodeSource | None) -> list[Path]:
    """The files of that code; none of uploaded code, which its digest describes."""
    if source is not None and source.digest:
        return []
    return [path for _, path in _named_files(model)]


def _named_files(model: JobModel) -> list[tuple[str, Path]]:
    return sorted(set(_files(importlib.import_module(model.package))))


def _files(top: ModuleType) -> Iterator[tuple[str, Path]]:
    """Names and paths of the files that make a top module or package."""
    folders = [Path(each) for each in getattr(top, "__path__", [])]
    for folder in folders:
        for path in folder.rglob("*.py"):
            yield str(path.relative_to(folder)), path
    if folders or not top.__file__:
        return
    own = Path(top.__file__)
    yield own.name, own
    if INSTALLED & set(own.parts):
        return
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name.partition(".")[0] in OWN or module is top:
            continue
        path = Path(file)
        if path.suffix != ".py" or not path.is_relative_to(own.parent):
            continue
        below = path.relative_to(own.parent)
        if not INSTALLED & set(below.parts):
            yield str(below), path
