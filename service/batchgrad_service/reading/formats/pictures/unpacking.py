"""Write the pictures in a zip to arrays, one at a time."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import PictureOptions, UploadedFile
from batchgrad_service.datasets.careful_zip import MAX_DIRECTORY_BYTES, UNREADABLE, CarefulFile
from batchgrad_service.datasets.npy_headers import write_header
from batchgrad_service.datasets.npz import Purpose
from batchgrad_service.problems import InvalidError, TooLargeError
from batchgrad_service.reading.formats.pictures.decoding import MOST_PIXELS, decoded
from batchgrad_service.reading.formats.pictures.listing import Listing, listing


def unpack_pictures(
    path: Path,
    directory: Path,
    file: UploadedFile,
    *,
    max_bytes: int,
    purpose: Purpose = "dataset",
) -> list[str] | None:
    """Write inputs (n, channels, height, width), ids, the pictures' paths, targets and split.

    The classes are the folders; for a prediction folders mean nothing, and None is returned.
    Raises as `Unpack` does.
    """
    _check_options(file.pictures)
    with_targets = purpose != "prediction"
    with _opened(path) as archive:
        found = listing(archive, with_targets=with_targets)
        _write_inputs(archive, found, directory, file.pictures, max_bytes)
    _save(directory, "ids", np.array([info.filename.encode() for info in found.pictures]))
    if found.classes is not None:
        _save(directory, "targets", np.array(found.classes, "<i8"))
    if found.sets is not None:
        _save(directory, "split", np.array(found.sets, np.uint8))
    return list(found.class_names) if with_targets else None


def _write_inputs(
    archive: zipfile.ZipFile,
    found: Listing,
    directory: Path,
    options: PictureOptions,
    max_bytes: int,
) -> None:
    count = len(found.pictures)
    shape: tuple[int, ...] = ()
    with (directory / "inputs.npy").open("xb") as target:
        for info in found.pictures:
            pixels = decoded(info.filename, archive.read(info), options)
            if not shape:
                shape = pixels.shape
                _check_total(count, shape, max_bytes)
                write_header(target, pixels.dtype, (count, *shape))
            if pixels.shape != shape:
                raise InvalidError.field(
                    "/file",
                    f"The picture {found.pictures[0].filename!r:.200} has {shape[1]} x {shape[2]} "
                    f"pixels (height x width), {info.filename!r:.200} has {pixels.shape[1]} x "
                    f"{pixels.shape[2]}: name the size to which all are changed, as in "
                    f"--size {shape[1]}x{shape[2]}.",
                )
            target.write(np.ascontiguousarray(pixels).data)


def _save(directory: Path, name: str, array: npt.NDArray[Any]) -> None:
    np.save(directory / f"{name}.npy", array, allow_pickle=False)


def _check_options(options: PictureOptions) -> None:
    if options.size is not None:
        height, width = options.size
        if min(height, width) < 1 or height * width > MOST_PIXELS:
            raise InvalidError.field(
                "/file/pictures/size",
                f"The size is {height} x {width}; expected a height and a width of at least 1 and "
                f"at most {MOST_PIXELS} pixels, as in --size 64x64.",
            )


def _check_total(count: int, shape: Sequence[int], max_bytes: int) -> None:
    total = count * int(np.prod(shape))
    if total > max_bytes:
        raise TooLargeError(
            f"{count} pictures of {shape[1]} x {shape[2]} pixels hold {total} bytes, this service "
            f"takes {max_bytes}: make them smaller, as in --size 64x64, use --mode gray, or raise "
            "max_dataset_bytes."
        )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with (
            CarefulFile(path, MAX_DIRECTORY_BYTES) as file,
            zipfile.ZipFile(file) as archive,
        ):
            yield archive
    except UNREADABLE as error:
        raise InvalidError.field(
            "/file",
            f"This is no readable zip ({error!s:.200}): zip the folder again, as zip -r "
            "pictures.zip pictures does.",
        ) from error
