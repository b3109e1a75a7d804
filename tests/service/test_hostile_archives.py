"""Uploads that are damaged or forged: refused, without much memory or disk."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.problems import (
    InvalidError,
    ProblemError,
    TooLargeError,
)
from tests.service.npz_mutations import mutations
from tests.service.uploads import CLASSES, INPUTS, Put, left_over, npy, npz, zipped

HEADERS = [
    ("(4, 3)", "'descr': ()", "no readable .npy header"),
    ("(4, 3)", "'descr': ('f4',)", "no readable .npy header"),
    ("(4, 3)", "'descr': ((),)", "no readable .npy header"),
    (f"(0x{'f' * 4000}, 3)", "'descr': '<f4'", "an axis of more than 2**63 rows"),
    (f"({'1, ' * 65})", "'descr': '<f4'", "65 axes; expected at most 32"),
    ("(4, 3), 'x': 1", "'descr': '<f4'", "no readable .npy header"),
]


@pytest.mark.parametrize(("shape", "descr", "detail"), HEADERS)
def test_an_impossible_header_is_refused(
    put: Put, tmp_path: Path, shape: str, descr: str, detail: str
) -> None:
    text = f"{{{descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + INPUTS.tobytes()
    with pytest.raises(InvalidError) as caught:
        put(zipped({"inputs.npy": content, "targets.npy": npy(CLASSES)}))
    assert detail in caught.value.detail
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_unpack_without_a_bound_are_refused(put: Put, kind: int) -> None:
    arrays = {"inputs.npy": npy(np.zeros((100, 3000))), "targets.npy": npy(np.zeros(100))}
    with pytest.raises(
        InvalidError, match=r"inputs is compressed by (bzip2|lzma); expected deflate"
    ):
        put(zipped(arrays, kind))


@pytest.mark.filterwarnings("ignore")  # as in the service, where numpy's warnings end nothing
def test_damaged_archives_are_read_or_refused(datasets: Datasets, put: Put) -> None:
    read = 0
    for content in mutations(600, seed=1):
        try:
            dataset, _ = put(content, replace=True)
        except (InvalidError, TooLargeError) as problem:
            problem.detail.encode()
        else:
            read += 1
            assert np.load(datasets.directory(dataset.digest) / "inputs.npy").ndim > 1
    assert 0 < read < 300


def test_a_zip_bomb_is_refused_before_it_is_unpacked(put: Put, tmp_path: Path) -> None:
    bomb = zipped(
        {"inputs.npy": npy(np.zeros((1000, 500))), "targets.npy": npy(np.zeros(1000))},
        zipfile.ZIP_DEFLATED,
    )
    assert len(bomb) < 10_000
    with pytest.raises(TooLargeError, match="unpacks to 4008256 bytes, this service takes 3000000"):
        put(bomb)
    assert left_over(tmp_path) == []


def test_a_member_that_lies_about_its_size_is_refused(put: Put) -> None:
    content = npz(inputs=INPUTS, targets=CLASSES)
    archive = zipfile.ZipFile(io.BytesIO(content))
    size = struct.pack("<I", archive.getinfo("inputs.npy").file_size)
    smaller = struct.pack("<I", archive.getinfo("inputs.npy").file_size - 12)
    assert content.count(size) >= 1
    with pytest.raises(ProblemError, match=r"not a readable npz|bytes follow"):
        put(content.replace(size, smaller))


def test_a_header_that_lies_about_the_shape_is_refused(put: Put) -> None:
    lying = npy(INPUTS).replace(b"(4, 3), ", b"(4000,3)")
    with pytest.raises(InvalidError, match=r"48000 bytes, but 48 bytes follow"):
        put(zipped({"inputs.npy": lying, "targets.npy": npy(CLASSES)}))


def test_a_header_or_directory_that_claims_to_be_huge_costs_no_memory(put: Put) -> None:
    huge_header = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{" * 200
    with pytest.raises(InvalidError, match=r"no readable \.npy header"):
        put(zipped({"inputs.npy": huge_header, "targets.npy": npy(CLASSES)}))
    padding = bytes(6 * 2**20)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(padding), 0, 0)
    with pytest.raises(InvalidError, match="directory claims 6291456 bytes"):
        put(padding + end)
