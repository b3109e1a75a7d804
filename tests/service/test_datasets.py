import hashlib
import io
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.problems import (
    ConflictError,
    InvalidError,
    NotFoundError,
    ProblemError,
    TooLargeError,
)
from batchgrad_service.store import Store
from tests.service.npz_mutations import mutations

INPUTS = np.arange(12, dtype=np.float32).reshape(4, 3)
CLASSES = np.array([0, 1, 2, 1])
Put = Callable[..., Any]


@pytest.fixture
def datasets(tmp_path: Path, store: Store) -> Datasets:
    return Datasets(tmp_path, store, max_bytes=3_000_000)


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


@pytest.fixture
def put(datasets: Datasets) -> Put:
    def put(content: bytes, name: str = "d", *, replace: bool = False) -> Any:
        with datasets.upload() as path:
            path.write_bytes(content)
            return datasets.put(name, path, replace=replace)

    return put


def left_over(root: Path) -> list[str]:
    return [p.name for folder in ("datasets", "uploads") for p in (root / folder).iterdir()]


def expected_digest(**arrays: Any) -> str:
    """As documented: it must stay what it is, for stored digests outlive a version."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        described = f"{name}\0{array.dtype.name}\0{list(array.shape)}\0"
        digest.update(described.encode() + array.tobytes())
    return f"sha256:{digest.hexdigest()}"


def test_a_dataset_is_stored_as_it_came(put: Put, datasets: Datasets) -> None:
    weights = np.array([0, 1, 2, 0.5])
    dataset, outcome = put(npz(inputs=INPUTS, targets=CLASSES, weights=weights))
    assert outcome == "created"
    assert (dataset.examples, dataset.input_shape, dataset.input_dtype) == (4, [3], "float32")
    assert (dataset.target_kind, dataset.classes, dataset.weighted) == ("classes", 3, True)
    assert dataset.bytes == INPUTS.nbytes + CLASSES.nbytes + weights.nbytes
    directory = datasets.directory(dataset.digest)
    assert sorted(file.name for file in directory.iterdir()) == [
        "inputs.npy",
        "targets.npy",
        "weights.npy",
    ]
    np.testing.assert_array_equal(np.load(directory / "inputs.npy"), INPUTS)
    np.testing.assert_array_equal(np.load(directory / "weights.npy"), weights)


def test_the_digest_is_that_of_the_content_not_of_the_archive(put: Put) -> None:
    plain, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    big_endian = INPUTS.astype(">f4")
    columns = np.asfortranarray(INPUTS)
    for same in (
        npz(targets=CLASSES, inputs=INPUTS),
        npz(inputs=big_endian, targets=CLASSES.astype(">i8")),
        npz(inputs=columns, targets=CLASSES),
        zipped({"inputs.npy": npy(INPUTS), "targets.npy": npy(CLASSES)}, zipfile.ZIP_DEFLATED),
    ):
        assert put(same) == (plain, "same")
    assert plain.digest == expected_digest(inputs=INPUTS, targets=CLASSES)
    other_shape, _ = put(npz(inputs=INPUTS.reshape(4, 1, 3), targets=CLASSES), "e")
    assert other_shape.digest != plain.digest


def test_fortran_order_is_turned_around_in_chunks(put: Put, datasets: Datasets) -> None:
    inputs = np.asfortranarray(np.arange(300_000, dtype=">f8").reshape(3000, 50, 2))
    dataset, _ = put(npz(inputs=inputs, targets=np.zeros(3000)))
    stored = np.load(datasets.directory(dataset.digest) / "inputs.npy")
    np.testing.assert_array_equal(stored, inputs)
    assert stored.dtype.str == "<f8"
    assert stored.flags.c_contiguous


def test_equal_contents_are_kept_once(put: Put, tmp_path: Path) -> None:
    content = npz(inputs=INPUTS, targets=CLASSES)
    first, _ = put(content, "a")
    second, outcome = put(content, "b")
    assert outcome == "created"
    assert first.digest == second.digest
    assert len(left_over(tmp_path)) == 1


def test_another_content_needs_replace_and_the_old_one_goes(
    put: Put, datasets: Datasets, tmp_path: Path
) -> None:
    first, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    with pytest.raises(ConflictError, match="replace=true"):
        put(npz(inputs=INPUTS + 1, targets=CLASSES))
    assert left_over(tmp_path) == [datasets.directory(first.digest).name]
    second, outcome = put(npz(inputs=INPUTS + 1, targets=CLASSES), replace=True)
    assert outcome == "replaced"
    assert left_over(tmp_path) == [datasets.directory(second.digest).name]
    datasets.delete("d")
    assert left_over(tmp_path) == []
    with pytest.raises(NotFoundError):
        datasets.delete("d")


def test_a_start_removes_what_is_unfinished_and_nothing_else(
    put: Put, datasets: Datasets, tmp_path: Path
) -> None:
    kept, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    theirs = ["imagenet", "notes.tmp", "0" * 64, "f" * 15 + ".tmp"]
    for name in theirs:
        (tmp_path / "datasets" / name).mkdir()
        (tmp_path / "uploads" / name).write_bytes(b"mine")
    (tmp_path / "datasets" / ("e" * 16 + ".tmp")).mkdir()
    (tmp_path / "uploads" / ("e" * 16 + ".tmp")).write_bytes(b"half")
    datasets.clean()
    expected = [datasets.directory(kept.digest).name, *theirs, *theirs]
    assert sorted(left_over(tmp_path)) == sorted(expected)


NAN = INPUTS.copy()
NAN[2, 1] = np.nan
INFINITE = np.full((4, 3), -np.inf)


NAMED = np.array(["no", "yes", "no", "no"])


@pytest.mark.parametrize(
    "targets", [NAMED, NAMED.astype(object), NAMED == "yes", np.array(["0.5", "1", "2", "3"])]
)
def test_the_remedy_for_targets_that_are_no_numbers_works(put: Put, targets: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        put(npz(inputs=INPUTS, targets=targets))
    remedies = re.findall(r"numpy\.unique\(.*?\)\[1\]|targets\.astype\('\w+'\)", str(caught.value))
    assert len(remedies) == 2
    for_classes = eval(remedies[0], {"numpy": np, "targets": targets})  # noqa: S307 (our own words)
    stored, _ = put(npz(inputs=INPUTS, targets=for_classes))
    assert stored.target_kind == "classes"


def test_a_csv_becomes_a_dataset_as_the_readme_says(put: Put, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [code] = re.findall(r"```python\n([^`]*loadtxt[^`]*)```", readme)
    lines = ["height,width,kind", "1.5,2,cat", '3,4,"dog"', "5,6,cat"]
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    stored, _ = put((tmp_path / "data.npz").read_bytes())
    assert (stored.examples, stored.input_shape, stored.classes) == (3, [2], 2)


@pytest.mark.parametrize(
    "inputs",
    [
        np.zeros(4, [("a", "f4"), ("b", "i8")]),
        np.array(["2026-01-01T00:00:01", "2026-01-01T00:00:59"] * 2, "M8[s]")[:, None],
        np.array([["1.5"], ["2"], ["3"], ["4"]]),
    ],
)
def test_the_remedy_for_inputs_that_are_no_numbers_works(put: Put, inputs: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        put(npz(inputs=inputs, targets=CLASSES))
    [remedy] = re.findall(r": (\S+\(.*\)|\(inputs -.*\)) (?:makes|reads)", str(caught.value))
    numbers = eval(remedy, {"numpy": np, "inputs": inputs})  # noqa: S307 (our own words)
    stored, _ = put(npz(inputs=numbers, targets=CLASSES))
    assert stored.examples == 4
    assert numbers[1, 0] - numbers[0, 0] == {"M": 58, "U": 0.5}.get(inputs.dtype.kind, 0)


HEADERS = [
    ("(4, 3)", "'descr': ()", "no readable .npy header"),
    ("(4, 3)", "'descr': ('f4',)", "no readable .npy header"),
    ("(4, 3)", "'descr': ((),)", "no readable .npy header"),
    (f"(0x{'f' * 4000}, 3)", "'descr': '<f4'", "an axis of more than 2**63 rows"),
    (f"({'1, ' * 65})", "'descr': '<f4'", "65 axes; expected at most 32"),
    ("(4, 3), 'x': 1", "'descr': '<f4'", "no readable .npy header"),
]


@pytest.mark.parametrize(("shape", "descr", "said"), HEADERS)
def test_a_header_that_says_what_none_says_is_refused(
    put: Put, tmp_path: Path, shape: str, descr: str, said: str
) -> None:
    text = f"{{{descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + INPUTS.tobytes()
    with pytest.raises(InvalidError) as caught:
        put(zipped({"inputs.npy": content, "targets.npy": npy(CLASSES)}))
    assert said in caught.value.detail
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


@pytest.mark.parametrize(
    ("content", "pointer", "said"),
    [
        (b"hello", "", "not a readable npz"),
        (b"", "", "not a readable npz"),
        (zipped({}), "/inputs", "holds nothing"),
        (npz(inputs=INPUTS), "/targets", "not targets"),
        (npz(inputs=INPUTS, targets=CLASSES, more=CLASSES), "", "'more', which is none of"),
        (npz(X=INPUTS, y=CLASSES), "", "'X', which is none of inputs, targets, weights: name the"),
        (zipped({"inputs": npy(INPUTS)}), "", "'inputs', which is no .npy"),
        (zipped({"inputs.npy": b"", "targets.npy": b""}), "/inputs", "no readable .npy header"),
        (
            npz(inputs=np.array([{}]), targets=CLASSES),
            "/inputs",
            "inputs holds Python objects (pickled)",
        ),
        (npz(inputs=INPUTS, targets=np.array(["a"] * 4)), "/targets", "targets holds <U1"),
        (npz(inputs=INPUTS.astype(str), targets=CLASSES), "/inputs", "what has names must be"),
        (npz(inputs=INPUTS + 1j, targets=CLASSES), "/inputs", "complex64"),
        (npz(inputs=INPUTS > 1, targets=CLASSES), "/inputs", "bool"),
        (npz(inputs=INPUTS.astype(np.longdouble), targets=CLASSES), "/inputs", "float128"),
        (npz(inputs=np.zeros((4, 1), "f4,i4"), targets=CLASSES), "/inputs", "('f0', '<f4')"),
        (npz(inputs=INPUTS[:0], targets=CLASSES[:0]), "/inputs", "shape [0, 3]"),
        (npz(inputs=INPUTS[:, 0], targets=CLASSES), "/inputs", "one row per example"),
        (npz(inputs=np.float32(1), targets=CLASSES), "/inputs", "shape []"),
        (
            npz(inputs=INPUTS[:3], targets=CLASSES),
            "/targets",
            "targets has 4 rows, inputs has 3: each example needs one target.",
        ),
        (
            npz(inputs=INPUTS, targets=CLASSES, weights=np.ones(3)),
            "/weights",
            "weights has 3 rows, inputs has 4: each example needs one weight.",
        ),
        (npz(inputs=NAN, targets=CLASSES), "/inputs", "inputs[2, 1] is nan:"),
        (
            npz(inputs=INFINITE, targets=CLASSES),
            "/inputs",
            "inputs[0, 0] is -inf; inputs[0, 1] is -inf; inputs[0, 2] is -inf, among others",
        ),
        (npz(inputs=INPUTS, targets=NAN[:, 1]), "/targets", "targets[2] is nan"),
        (
            npz(inputs=INPUTS, targets=CLASSES - 1),
            "/targets",
            "targets[0] is -1: integers number classes",
        ),
        (npz(inputs=INPUTS, targets=CLASSES + 2**40), "/targets", "number classes 0, 1, 2"),
        (npz(inputs=INPUTS, targets=INPUTS.astype(int)), "/targets", "integers of shape [4, 3]"),
        (
            npz(inputs=INPUTS, targets=np.zeros((4, 1), int)),
            "/targets",
            "targets.ravel() for classes",
        ),
        (npz(inputs=INPUTS, targets=INPUTS[..., None]), "/targets", "shape [4, 3, 1]"),
        (npz(inputs=INPUTS, targets=CLASSES, weights=-np.ones(4)), "/weights", "weights[0] is -1"),
        (npz(inputs=INPUTS, targets=CLASSES, weights=np.zeros(4)), "/weights", "All weights are 0"),
        (npz(inputs=INPUTS, targets=CLASSES, weights=np.ones((4, 1))), "/weights", "(n,)"),
    ],
)
def test_bad_content_is_named_and_leaves_nothing(
    put: Put, tmp_path: Path, store: Store, content: bytes, pointer: str, said: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        put(content)
    [error] = caught.value.errors
    assert error.pointer == pointer
    assert said in error.detail
    assert left_over(tmp_path) == []
    assert store.datasets().data == []


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
