"""Archives of datasets for tests of uploads."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

INPUTS = np.arange(12, dtype=np.float32).reshape(4, 3)
CLASSES = np.array([0, 1, 2, 1])
Put = Callable[..., Any]


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def left_over(root: Path) -> list[str]:
    return [p.name for folder in ("datasets", "uploads") for p in (root / folder).iterdir()]
