"""The file that each kind of data becomes, and that equal data give equal bytes."""

import csv
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from batchgrad import errors
from batchgrad.data.examples import few_examples, open_examples
from batchgrad.data.options import import_request, is_small_npz
from batchgrad.data.recognition import open_source
from batchgrad.data.source import Source

FRAME = pd.DataFrame({"age": [1.5, None], "name": ["a", "b"], "n": [1, 2]})
TABLE = pa.table({"age": [1.5, None], "name": ["a", "b"], "n": [1, 2]})
ROWS = [{"age": 1.5, "name": "a", "n": 1}, {"age": None, "name": "b", "n": 2}]


def content(data: Any) -> tuple[Source, bytes]:
    with open_source(data) as source:
        return source, source.read(0, source.length)


def arrow_rows(data: Any) -> list[dict[str, Any]]:
    source, found = content(data)
    assert (source.format, source.name) == ("arrow", "frame.arrow")
    rows: list[dict[str, Any]] = pa.ipc.open_file(found).read_all().to_pylist()
    return rows


def arrays(data: Any) -> dict[str, list[Any]]:
    source, found = content(data)
    assert source.format == "npz"
    with np.load(io.BytesIO(found)) as opened:
        return {name: opened[name].tolist() for name in opened.files}


@pytest.mark.parametrize(
    "data",
    [
        FRAME,
        FRAME.set_index("age"),
        FRAME.iloc[[0, 1]].set_axis([7, 7]),
        pl.DataFrame(ROWS),
        pl.DataFrame(ROWS).lazy(),
        TABLE,
        TABLE.to_batches()[0],
        TABLE.to_reader(),
    ],
    ids=lambda data: type(data).__name__,
)
def test_a_frame_becomes_an_arrow_file(data: Any) -> None:
    assert arrow_rows(data) == ROWS


def test_pandas_without_pyarrow_becomes_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    source, found = content(FRAME)
    assert (source.format, source.name) == ("csv", "frame.csv")
    assert found == b"age,name,n\n1.5,a,1\n,b,2\n"


class Tensor:
    """What the client uses of a tensor with a gradient, which numpy cannot convert."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> Any:
        return self.values


@pytest.mark.parametrize("convert", [np.asarray, list, Tensor, tuple])
def test_arrays_become_an_npz(convert: Callable[[Any], Any]) -> None:
    inputs, targets = convert([[1.0], [2.0]]), convert([0, 1])
    expected = {"inputs": [[1.0], [2.0]], "targets": [0, 1]}
    assert arrays((inputs, targets)) == expected
    assert arrays({"inputs": inputs, "targets": targets}) == expected
    assert arrays((inputs, targets, [1, 2])) == {**expected, "weights": [1, 2]}


def test_npy_files_become_an_npz_without_compression(tmp_path: Path) -> None:
    paths = [tmp_path / "X.npy", tmp_path / "y.npy"]
    np.save(paths[0], np.eye(2))
    np.save(paths[1], np.array([0, 1]))
    assert arrays(tuple(paths)) == {"inputs": [[1.0, 0.0], [0.0, 1.0]], "targets": [0, 1]}
    assert arrays([str(path) for path in paths])["targets"] == [0, 1]
    with pytest.raises(errors.InvalidArgument, match=r"holds one array: give a pair"):
        content(paths[0])
    with pytest.raises(errors.FileFailed, match=r"none\.npy cannot be read"):
        content((paths[0], tmp_path / "none.npy"))


def test_a_folder_of_pictures_becomes_the_same_zip_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    for name in ("dog/2.PNG", "cat/1.png", "dog/notes.txt", "cat/.hidden"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    source, first = content(folder)
    assert (source.format, source.name) == ("pictures", "pets.zip")
    (folder / "dog/2.PNG").touch()
    assert content(str(folder))[1] == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == ["cat/1.png", "dog/2.PNG"]
        assert archive.read("dog/2.PNG") == b"dog/2.PNG"
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
    with pytest.raises(errors.InvalidArgument, match=r"no folders with pictures \(2.PNG, notes"):
        content(folder / "dog")


def test_pictures_in_nested_and_linked_folders_are_all_sent(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "pets", tmp_path / "elsewhere"
    for path in (folder / "train/cat/1.png", folder / "test/dog/2.png", elsewhere / "3.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for hidden in ("train/.ipynb_checkpoints/1.png", "beside.png"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).touch()
    (folder / "train/dog").symlink_to(elsewhere)
    (folder / "train/cat/again").symlink_to(folder)
    in_classes = ["test/dog/2.png", "train/cat/1.png", "train/dog/3.png"]
    _, sent = content(folder)
    assert zipfile.ZipFile(io.BytesIO(sent)).namelist() == in_classes
    with open_examples(folder) as source, zipfile.ZipFile(source.file) as archive:
        assert archive.namelist() == ["beside.png", *in_classes]
    (tmp_path / "none").mkdir()
    with (
        pytest.raises(errors.InvalidArgument, match=r"has no pictures \(it is empty\)"),
        open_examples(tmp_path / "none"),
    ):
        pass


def test_examples_to_predict_need_no_targets(tmp_path: Path) -> None:
    np.save(tmp_path / "new.npy", np.eye(2))
    with open_examples(tmp_path / "new.npy") as source:
        source.file.seek(0)
        assert np.load(source.file)["inputs"].tolist() == [[1, 0], [0, 1]]
    (tmp_path / "1.png").write_bytes(b"picture")
    with open_examples(tmp_path / "1.png") as source, zipfile.ZipFile(source.file) as archive:
        assert (source.format, archive.namelist()) == ("pictures", ["1.png"])
    with pytest.raises(errors.InvalidArgument, match=r"a list of rows: \[\{column: value"):
        open_examples({"age": 1})
    row = pd.Series({"age": 1.0})
    assert few_examples(row) is None
    with pytest.raises(errors.InvalidArgument, match="Series"), open_examples(row):
        pass


def test_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1")
    source, found = content(path)
    assert (source.format, source.name, found) == (None, "t.parquet", b"PAR1")
    with pytest.raises(errors.FileFailed, match="No such file"):
        content(tmp_path / "none.csv")


def bunch(**items: Any) -> Any:
    datasets = pytest.importorskip("sklearn.utils", reason="scikit-learn makes the bunch")
    return datasets.Bunch(**items)


def test_a_bunch_keeps_the_names_of_columns_and_classes() -> None:
    data = np.array([[0.1, 2.0], [1 / 3, 4.0]])
    named = bunch(
        data=data,
        target=np.array([1, 0]),
        feature_names=["petal, cm", "b"],
        target_names=np.array(["setosa", "other"]),
        frame=None,
    )
    source, found = content(named)
    assert (source.format, source.table) == ("csv", {"target": "target"})
    rows = list(csv.reader(io.StringIO(found.decode())))
    assert rows == [
        ["petal, cm", "b", "target"],
        ["0.1", "2.0", "other"],
        [repr(1 / 3), "4.0", "setosa"],
    ]
    bare = bunch(data=data, target=np.array([1, 0]))
    assert arrays(bare)["targets"] == [1, 0]
    wide = bunch(data=np.zeros((2, 1001)), target=bare.target, feature_names=[*range(1001)])
    assert arrays(wide)["targets"] == [1, 0]
    frame = pd.DataFrame({"a": [1.0, 2.0], "y": ["u", "v"]})
    with open_source(bunch(data=frame[["a"]], target=frame["y"], frame=frame)) as source:
        assert source.table == {"target": "y"}
        read = pa.ipc.open_file(source.read(0, source.length)).read_all().to_pylist()
    assert read == [{"a": 1.0, "y": "u"}, {"a": 2.0, "y": "v"}]
    numbers = pd.DataFrame({"a": [1.0, 2.0], "y": [1, 0]})
    for names, expected in ((["u", "v"], ["v", "u"]), (None, [1, 0])):
        target = {"target": numbers["y"], "target_names": names}
        with open_source(bunch(data=numbers[["a"]], **target, frame=numbers)) as source:
            read = pa.ipc.open_file(source.read(0, source.length)).read_all()
        assert read["y"].to_pylist() == expected
    with pytest.raises(errors.InvalidArgument, match="expected data and target"):
        content(bunch(images=data))


class _Dataset:
    """What the client uses of a Hugging Face dataset."""

    column_names = ("age", "name", "n")
    features: Any = None

    def __init__(self, table: Any) -> None:
        self.table = table

    def with_format(self, kind: str) -> "_Dataset":
        assert kind == "arrow"
        return self

    def iter(self, batch_size: int) -> Any:
        assert batch_size > 0
        return (self.table.slice(row, 1) for row in range(len(self.table)))


_Dataset.__module__ = "datasets.arrow_dataset"


def test_class_labels_of_hugging_face_become_names() -> None:
    class ClassLabel:
        names = ("bad", "good")

    dataset = _Dataset(pa.table({"a": [1, 2, 3], "label": [1, 0, -1]}))
    dataset.features = {"a": None, "label": ClassLabel()}
    assert [row["label"] for row in arrow_rows(dataset)] == ["good", "bad", None]


def test_a_tensor_dataset_is_its_tensors() -> None:
    class TensorDataset:
        tensors = (Tensor([[1.0]]), Tensor([0]))

    assert arrays(TensorDataset()) == {"inputs": [[1.0]], "targets": [0]}


def test_a_hugging_face_dataset_is_written_piece_by_piece() -> None:
    assert arrow_rows(_Dataset(TABLE)) == ROWS
    with pytest.raises(errors.InvalidArgument, match="without rows"):
        content(_Dataset(TABLE.slice(0, 0)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "data is None; expected a path"),
        (np.eye(2), r"data is a ndarray; .*: give inputs and targets"),
        (FRAME["age"], r"series\.to_frame"),
        (pl.DataFrame(ROWS)["age"], r"series\.to_frame"),
        (pa.array([1]), "expected a Table"),
        (pd.DataFrame({"a": [1, "x"]}), "Make each column one kind"),
        (io.BytesIO(b""), r"data\.read\(\)"),
        ({"x": [1]}, r"data is a dict; .*: pandas\.DataFrame\(data\)"),
        ([{"x": 1}], r"data is a list; .*: pandas\.DataFrame\(data\)"),
        (([[1], [1, 2]], [0, 1]), "inputs cannot be converted"),
        ((["a", None], [0, 1]), "inputs is a list that becomes an array of Python objects"),
    ],
)
def test_other_data_are_refused_with_what_is_expected(data: Any, message: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=message):
        content(data)


def test_no_library_is_imported_for_another_one_s_data() -> None:
    code = (
        "import sys\nfrom batchgrad.data.recognition import open_source\n"
        "with open_source(b'x'): pass\n"
        "print(*sys.modules.keys() & {'numpy', 'pandas', 'polars', 'pyarrow', 'torch', 'sklearn'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == ""


def test_one_request_stores_a_small_npz_of_which_nothing_is_said() -> None:
    def is_small(size: int = 3, name: str = "a.npz", **more: Any) -> bool:
        source = Source(io.BytesIO(bytes(size)), name)
        return is_small_npz(source, import_request(source, table={}, file={}, **more))

    assert is_small()
    assert is_small(2**20)
    assert not is_small(2**20 + 1)
    assert not is_small(dry_run=True)
    assert not is_small(name="a.csv")


def test_what_the_user_says_of_a_table_comes_first() -> None:
    source = Source(io.BytesIO(b""), "a.csv", "csv", {"target": "target"})
    assert import_request(source, table={"target": "b"}, file={})["table"] == {"target": "b"}


def test_few_numbers_are_no_file() -> None:
    class Tensor:
        """On another device, and part of a computation."""

        def __init__(self, values: Any, ready: int = 0) -> None:
            self.values, self.ready = values, ready

        def numel(self) -> int:
            return len(self.values)

        def detach(self) -> "Tensor":
            return Tensor(self.values, self.ready + 1)

        cpu = detach

        def tolist(self) -> Any:
            assert self.ready == 2
            return self.values

    assert few_examples(np.zeros(100_000)) is not None
    assert few_examples(np.zeros(100_001)) is None
    assert few_examples(Tensor([1.0, 2.0])) == {"inputs": [1.0, 2.0]}
