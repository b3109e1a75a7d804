"""Code to send: a wheel or a zip as it is, a folder as a zip that is the same each time."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batchgrad.data.paths import pack
from batchgrad.data.source import Source, temporary_file
from batchgrad.errors import FileFailed, InvalidArgument
from batchgrad.parsing import arguments
from batchgrad.user_warnings import warn_user

MOST_BYTES = 64 * 2**20
"""Of an archive."""

MOST_FILE_BYTES = 2**20
"""Of a file of a folder that is no Python code."""

MOST_FILES = 5000

_LEFT_OUT = frozenset({"__pycache__", "build", "dist", "env", "node_modules", "venv"})
"""Folders that hold no code of the user, beside hidden ones."""

_COMPILED = frozenset({".pyc", ".pyo"})


@contextmanager
def open_code(code: Any) -> Iterator[Source]:
    """The archive to send for `code`, the path of a wheel, a zip, a folder or a module.

    A folder that is a package, with an __init__.py, becomes that package; of another one the
    packages and modules inside. Hidden files, caches, environments, links, and files other than
    Python code of more than MOST_FILE_BYTES are left out; of these a UserWarning tells.

    Raises:
        InvalidArgument: it is no such path, holds no Python code, or too much.
        FileFailed: it cannot be read.
    """
    named = code and isinstance(code, str | os.PathLike)  # "." has no name of its own
    path = arguments.path("code", os.path.abspath(code) if named else code)  # noqa: PTH100 ("\0")
    try:
        if path.is_dir() or path.suffix == ".py":
            members = _members(path) if path.is_dir() else {path.name: path}
            with temporary_file() as file:
                pack(file, members)
                _check_size(path, file.tell())
                yield Source(file, f"{path.name}.zip")
            return
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise InvalidArgument(
                    f"code is {str(path)!r:.200}, which is neither a folder, a Python file, a "
                    "wheel nor a zip: give the folder that holds your package, or a wheel, which "
                    "python -m build --wheel makes."
                )
            _check_size(path, file.seek(0, os.SEEK_END))
            yield Source(file, path.name)
    except OSError as error:
        raise FileFailed(f"{path} cannot be read: {error}.") from error


def _members(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names in the archive, sorted."""
    top = folder.parent if (folder / "__init__.py").is_file() else folder
    found, large = {}, []
    for path in _files(folder):
        if path.suffix != ".py" and path.stat().st_size > MOST_FILE_BYTES:
            large.append(path)
            continue
        found[path.relative_to(top).as_posix()] = path
        if len(found) > MOST_FILES:
            raise InvalidArgument(
                f"code is the folder {folder}, with more than {MOST_FILES} files: give the folder "
                "that holds your package alone, or a wheel."
            )
    if not any(name.endswith(".py") for name in found):
        raise InvalidArgument(
            f"code is the folder {folder}, which holds no Python files: give the folder that holds "
            "your package."
        )
    if large:
        warn_user(
            f"{len(large)} files of more than {MOST_FILE_BYTES} bytes were left out of the code, "
            f"{large[0].relative_to(folder)} first: put data into a dataset."
        )
    return dict(sorted(found.items()))


def _files(folder: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        parent = Path(name)
        folders[:] = sorted(each for each in folders if _is_kept(parent / each))
        for each in sorted(files):
            path = parent / each
            if not each.startswith(".") and path.suffix not in _COMPILED and path.is_file():
                yield path


def _is_kept(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _LEFT_OUT
    return not (hidden or folder.name.endswith(".egg-info") or (folder / "pyvenv.cfg").exists())


def _check_size(path: Path, size: int) -> None:
    if size > MOST_BYTES:
        raise InvalidArgument(
            f"code is {str(path)!r:.200}, {size} bytes, at most {MOST_BYTES} are allowed: leave "
            "out what is no code, such as data and trained parameters."
        )
