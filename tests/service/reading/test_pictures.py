"""Zips of pictures become arrays of bytes, classes and sets."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.formats.pictures.unpacking import unpack_pictures
from batchgrad_workers.system.process_memory import at_most
from tests.service.reading.files import Arrays, picture, zipped
from tests.service.reading.uploaded import uploaded

P = picture()


def unpacked(
    path: Path, members: dict[str, bytes], **options: Any
) -> tuple[list[str] | None, Arrays]:
    purpose = options.pop("purpose", "dataset")
    (path / "a.zip").write_bytes(zipped(members))
    file = uploaded("a.zip", pictures=options)
    classes = unpack_pictures(path / "a.zip", path, file, max_bytes=10**6, purpose=purpose)
    return classes, {found.stem: np.load(found) for found in path.glob("*.npy")}


def test_classes_are_sorted_folders_and_ids_are_paths(tmp_path: Path) -> None:
    members = {
        "dog/b.png": picture(color=(3, 4, 5)),
        "cat/sub/a.PNG": picture(color=(1, 2, 3)),
        "cat/": b"",
        "cat/.hidden": b"",
        "__MACOSX/cat/x.png": b"",
        "dog/Thumbs.db": b"",
    }
    classes, arrays = unpacked(tmp_path, members)
    assert classes == ["cat", "dog"]
    assert arrays["ids"].tolist() == [b"cat/sub/a.PNG", b"dog/b.png"]
    assert arrays["targets"].tolist() == [0, 1]
    assert arrays["targets"].dtype == np.int64
    assert arrays["inputs"].dtype == np.uint8
    assert arrays["inputs"].shape == (2, 3, 3, 4)
    assert arrays["inputs"][:, :, 2, 3].tolist() == [[1, 2, 3], [3, 4, 5]]
    assert "split" not in arrays


@pytest.mark.parametrize("top", ["", "data/", "a/b/"])
def test_folders_around_the_classes_mean_nothing(tmp_path: Path, top: str) -> None:
    classes, arrays = unpacked(tmp_path, {f"{top}cat/1.png": P, f"{top}dog\\1.png": P})
    assert classes == ["cat", "dog"]
    assert arrays["targets"].tolist() == [0, 1]


def test_folders_of_sets(tmp_path: Path) -> None:
    members = {f"{part}/{kind}/1.png": P for part in ("train", "val", "test") for kind in "ab"}
    classes, arrays = unpacked(tmp_path, members)
    assert classes == ["a", "b"]
    names = ["test/a", "test/b", "train/a", "train/b", "val/a", "val/b"]
    assert arrays["ids"].tolist() == [f"{name}/1.png".encode() for name in names]
    assert arrays["split"].tolist() == [2, 2, 0, 0, 1, 1]
    assert arrays["targets"].tolist() == [0, 1, 0, 1, 0, 1]


def test_pictures_to_predict_need_no_folders(tmp_path: Path) -> None:
    classes, arrays = unpacked(tmp_path, {"2.png": P, "1.png": P}, purpose="prediction")
    assert classes is None
    assert set(arrays) == {"inputs", "ids"}


KINDS: list[tuple[str, bytes, list[int]]] = [
    ("RGB", picture(color=(10, 20, 30)), [10, 20, 30]),
    ("transparent", picture("RGBA", color=(10, 20, 30, 0)), [255, 255, 255]),
    ("half transparent", picture("RGBA", color=(0, 0, 0, 128)), [127, 127, 127]),
    ("gray", picture("L", color=7), [7, 7, 7]),
    ("gray and alpha", picture("LA", color=(7, 255)), [7, 7, 7]),
    ("16 bits", picture("I;16", color=0x1234), [0x12, 0x12, 0x12]),
    ("16 bits, TIFF", picture("I;16", color=0xFFFF, kind="TIFF"), [255, 255, 255]),
    ("1 bit", picture("1", color=1), [255, 255, 255]),
    ("palette", picture("RGB", color=(200, 100, 50), kind="GIF"), [200, 100, 50]),
    ("CMYK", picture("CMYK", color=(0, 0, 0, 0), kind="JPEG"), [255, 255, 255]),
    ("BMP", picture(color=(10, 20, 30), kind="BMP"), [10, 20, 30]),
    ("PGM", picture("L", color=9, kind="PPM"), [9, 9, 9]),
    ("WebP", picture(color=(255, 255, 255), kind="WEBP"), [255, 255, 255]),
]


@pytest.mark.parametrize(
    ("content", "expected"), [row[1:] for row in KINDS], ids=[k[0] for k in KINDS]
)
def test_pixels_of_every_kind(tmp_path: Path, content: bytes, expected: list[int]) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"1.png": content}))
    unpack_pictures(tmp_path / "a.zip", tmp_path, uploaded(), max_bytes=10**6, purpose="prediction")
    assert np.load(tmp_path / "inputs.npy")[0, :, 1, 2].tolist() == expected


def test_gray_has_one_channel(tmp_path: Path) -> None:
    members = {"a/1.png": picture(color=(255, 0, 0)), "b/1.png": picture(color=(0, 255, 0))}
    _, arrays = unpacked(tmp_path, members, mode="gray")
    assert arrays["inputs"].shape == (2, 1, 3, 4)
    assert arrays["inputs"][:, 0, 0, 0].tolist() == [76, 150]  # 0.299 R + 0.587 G + 0.114 B


def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    left_white = Image.new("L", (16, 8))
    left_white.paste(255, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    file = io.BytesIO()
    left_white.save(file, "JPEG", exif=exif, quality=95)
    _, arrays = unpacked(tmp_path, {"1.jpg": file.getvalue()}, purpose="prediction")
    assert arrays["inputs"].shape == (1, 3, 16, 8)
    assert arrays["inputs"][0, 0, 2].min() > 200  # the left half is above
    assert arrays["inputs"][0, 0, 13].max() < 50


def test_resizing(tmp_path: Path) -> None:
    halves = Image.new("L", (8, 4))
    halves.paste(200, (4, 0, 8, 4))
    file = io.BytesIO()
    halves.save(file, "PNG")
    members = {"a/1.png": file.getvalue(), "b/1.png": picture("L", (2, 2), 50)}
    _, arrays = unpacked(tmp_path, members, size=[1, 2], mode="gray")
    assert arrays["inputs"].shape == (2, 1, 1, 2)
    assert arrays["inputs"][1].ravel().tolist() == [50, 50]
    dark, bright = arrays["inputs"][0].ravel().tolist()
    assert dark < 40
    assert bright > 160


def test_a_picture_that_needs_more_memory_than_there_is(tmp_path: Path) -> None:
    members = {"large.png": picture("1", (6000, 6000))}
    with (
        pytest.raises(InvalidError, match=r"'large.png' takes more memory .* make it smaller"),
        at_most(20 * 2**20),
    ):
        unpacked(tmp_path, members, purpose="prediction", size=[2, 2])
