"""The pictures in a zip: their order, classes and sets."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from batchgrad.contract.operations import PICTURE_SUFFIXES
from batchgrad_service.datasets.careful_zip import refused_compression
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.values.split_column import NAMES

_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_MOST_BYTES = 2**26
_LONGEST_NAME = 1024
_REMEDY = "put the pictures of each class in a folder of its own, as in cat/1.png and dog/2.png"


@dataclass(frozen=True)
class Listing:
    """Pictures, sorted by name. `classes` and `sets` have one number for each, or are None.

    A set is 0 (training), 1 (validation) or 2 (test).
    """

    pictures: Sequence[zipfile.ZipInfo]
    class_names: Sequence[str]
    classes: Sequence[int] | None
    sets: Sequence[int] | None


def listing(archive: zipfile.ZipFile, *, with_targets: bool) -> Listing:
    """Return the pictures; the classes are the names of their first folders.

    Folders that hold everything, or are named train, validation and test, are no classes.

    Raises:
        InvalidError: no pictures, other files, or names that cannot be used.
    """
    found = _by_name(archive)
    pictures = [found[name] for name in sorted(found)]
    if not with_targets:
        return Listing(pictures, (), None, None)
    paths = _below_common_folder([PurePosixPath(name).parts for name in sorted(found)])
    sets = None
    if all(len(path) > 2 and path[0].lower() in NAMES for path in paths):
        sets = [NAMES[path[0].lower()] for path in paths]
        paths = [path[1:] for path in paths]
    for info, path in zip(pictures, paths, strict=True):
        if len(path) < 2:
            raise InvalidError.field(
                "/file", f"The picture {info.filename!r} is in no folder of a class: {_REMEDY}."
            )
    names = sorted({path[0] for path in paths})
    if len(names) < 2:
        raise InvalidError.field(
            "/file",
            f"All pictures are of one class, {names[0]!r}; expected two or more: {_REMEDY}.",
        )
    numbers = {name: number for number, name in enumerate(names)}
    return Listing(pictures, names, [numbers[path[0]] for path in paths], sets)


def _below_common_folder(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Leave out the first folders as long as all paths have the same, and folders below it."""
    while len({path[0] for path in paths}) == 1 and all(len(path) > 2 for path in paths):
        paths = [path[1:] for path in paths]
    return paths


def _by_name(archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        parts = PurePosixPath(name).parts
        if name.endswith("/") or any(part.startswith(".") for part in parts if part != ".."):
            continue
        if _CLUTTER.intersection(parts):
            continue
        _check(info, name, parts)
        if name in found:
            raise InvalidError.field(
                "/file", f"The zip holds {name!r} twice: remove one, or give it another name."
            )
        found[name] = info
    if not found:
        raise InvalidError.field("/file", f"The zip holds no pictures: {_REMEDY}.")
    return found


def _check(info: zipfile.ZipInfo, name: str, parts: Sequence[str]) -> None:
    problem = None
    if ".." in parts or name.startswith("/") or len(name.encode()) > _LONGEST_NAME:
        problem = (
            f"the name must be a path of at most {_LONGEST_NAME} bytes without .. and without / "
            "in front: zip the folder again"
        )
    elif PurePosixPath(name).suffix.lower() not in PICTURE_SUFFIXES:
        problem = (
            f"it is no picture by its name ({', '.join(PICTURE_SUFFIXES)}): remove it from the zip"
        )
    elif info.flag_bits & 1:
        problem = "it is encrypted: zip the folder without a password"
    elif kind := refused_compression(info):
        problem = f"it is compressed by {kind}: zip the folder with deflate, as zip -r does"
    elif info.file_size > _MOST_BYTES:
        problem = (
            f"it has {info.file_size} bytes, more than {_MOST_BYTES}: make the picture smaller"
        )
    if problem is not None:
        raise InvalidError.field("/file", f"The zip holds {name!r:.200}; {problem}.")
