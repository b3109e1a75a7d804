"""Paths: a file as it is, a folder of pictures as a zip, .npy files as an npz."""

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from batchgrad.contract.operations import PICTURE_SUFFIXES
from batchgrad.data.source import Source, temporary_file
from batchgrad.errors import FileFailed, InvalidArgument

ARRAYS = ("inputs", "targets", "weights", "units", "split")
_PIECE_BYTES = 2**20
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@contextmanager
def from_path(path: Path, *, of_inputs: bool = False) -> Iterator[Source]:
    """A file, a folder of NAME.npy, or a folder of pictures: a folder for each class.

    With `of_inputs` also a .npy file of inputs, a picture, or pictures in no folders of classes.

    Raises:
        FileFailed: it cannot be read.
        InvalidArgument: a folder without pictures, or a single .npy file.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy" and not of_inputs:
        raise InvalidArgument(
            f"{path} holds one array: give a pair of files, inputs and targets, a folder of .npy "
            "files, or an npz: numpy.savez('data.npz', inputs=…, targets=…)."
        )
    if suffix == ".npy":
        with from_npy_files([path]) as source:
            yield source
        return
    with _readable(path):
        is_folder = path.is_dir()
    if is_folder and not of_inputs and (arrays := sorted(path.glob("*.npy"))):
        with temporary_file() as file:
            with _readable(path):
                pack(file, {array.name: array for array in arrays})
            yield Source(file, "arrays.npz", "npz")
    elif is_folder or (of_inputs and suffix in PICTURE_SUFFIXES):
        with temporary_file() as file:
            with _readable(path):
                members = _pictures(path, in_classes=not of_inputs) if is_folder else None
                pack(file, members or {path.name: path})
            yield Source(file, f"{path.name}.zip", "pictures")
    else:
        with _readable(path):
            file = path.open("rb")
        with file:
            yield Source(file, path.name)


@contextmanager
def from_npy_files(paths: Sequence[Path]) -> Iterator[Source]:
    """Files of inputs, targets and, if given, weights.

    Raises:
        FileFailed: one cannot be read.
    """
    with temporary_file() as file:
        with _readable(*paths):
            pack(file, {f"{name}.npy": path for name, path in zip(ARRAYS, paths, strict=False)})
        yield Source(file, "arrays.npz", "npz")


@contextmanager
def _readable(*paths: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        names = " and ".join(map(str, paths))
        raise FileFailed(f"{names} cannot be read: {error}.") from error


def pack(file: BinaryIO, members: Mapping[str, Path]) -> None:
    """Write a zip without compression; equal files give equal bytes, and so an equal digest."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, path in members.items():
            member = zipfile.ZipInfo(name, _LONG_AGO)
            member.create_system = 3  # the same on every system
            member.file_size = path.stat().st_size
            with path.open("rb") as content, archive.open(member, "w") as packed:
                copyfileobj(content, packed, _PIECE_BYTES)


def _pictures(folder: Path, *, in_classes: bool) -> dict[str, Path]:
    """The pictures below `folder`, by their names in the zip, sorted.

    With `in_classes` those beside the folders of classes are left out.
    """
    found = sorted(
        path
        for path in _files(folder)
        if path.suffix.lower() in PICTURE_SUFFIXES and not (in_classes and path.parent == folder)
    )
    if found:
        return {path.relative_to(folder).as_posix(): path for path in found}
    others = ", ".join(sorted(path.name for path in folder.iterdir())[:3]) or "it is empty"
    if not in_classes:
        raise InvalidArgument(f"{folder} has no pictures ({others}): give another one.")
    raise InvalidArgument(
        f"{folder} has no folders with pictures ({others}): put each class's pictures into a "
        "folder of its own, named like the class, or give a file."
    )


def _files(folder: Path) -> Iterator[Path]:
    """The files below `folder`; folders may be links, but hidden ones are left out."""
    for name, folders, files in os.walk(folder, followlinks=True):
        parent = Path(name)
        real = parent.resolve()
        folders[:] = [
            each
            for each in folders
            if not each.startswith(".")
            and not real.is_relative_to((parent / each).resolve())  # a link to a folder above it
        ]
        yield from (parent / each for each in files)
