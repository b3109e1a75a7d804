"""Arrays of any names become an npz; rows of different lengths are padded if asked."""

import io
from collections import UserDict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batchgrad import errors
from batchgrad.contract import Dataset
from batchgrad.data.padding import padded
from batchgrad.data.recognition import open_padded, open_source
from batchgrad.display.data.dataset_table import show_table
from batchgrad.display.data.starter_spec import starter_spec

ROWS = [[5, 6, 7], [8], []]
ENCODED = {"input_ids": ROWS, "labels": [[1, 2, 3], [-100], []]}


def read(source: Any) -> dict[str, Any]:
    assert source.format == "npz"
    with np.load(io.BytesIO(source.read(0, source.length))) as opened:
        return {name: opened[name] for name in opened.files}


def arrays(data: Any) -> dict[str, Any]:
    with open_source(data) as source:
        return read(source)


def pad(data: Any, how: Any = True) -> dict[str, Any]:
    with open_padded(data, how) as source:
        return read(source)


class Tensor:
    """What the client uses of a tensor with a gradient, which numpy cannot convert."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> Any:
        return self.values


@pytest.mark.parametrize("convert", [np.asarray, list, tuple, Tensor])
@pytest.mark.parametrize("mapping", [dict, UserDict])  # a tokenizer's answer is a UserDict
def test_arrays_of_any_names_become_an_npz(convert: Any, mapping: Any) -> None:
    found = arrays(mapping(image=convert([[1.0], [2.0]]), age=convert([3, 4])))

    assert {name: array.tolist() for name, array in found.items()} == {
        "image": [[1.0], [2.0]],
        "age": [3, 4],
    }


def test_booleans_stay_booleans() -> None:
    assert arrays({"mask": np.array([True, False])})["mask"].dtype == np.bool_


@pytest.mark.parametrize(
    "data",
    [
        {"age": [1, 2], "height": [3, 4]},
        {"name": ["a", "b"]},
        {"age": pd.Series([1, 2])},
        {"age": [np.float64(1), np.float64(2)]},
        {1: [[1]]},
        {"rows": []},
    ],
)
def test_columns_of_a_table_are_no_arrays(data: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"pandas\.DataFrame\(data\) makes one"):
        arrays(data)


def test_a_name_that_savez_cannot_write_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="no array of the name file"):
        arrays({"file": np.ones(3)})


def test_a_folder_of_npy_files_becomes_an_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array([0, 1]))
    np.save(tmp_path / "image.npy", np.eye(2))
    (tmp_path / "README").write_text("about them")

    assert list(arrays(tmp_path)) == ["image", "labels"]
    assert arrays(str(tmp_path))["labels"].tolist() == [0, 1]


def test_rows_are_padded_as_tokenizers_and_losses_expect() -> None:
    found = pad({**ENCODED, "score": [0.5, 1.5, 2.5]})

    assert found["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0], [0, 0, 0]]
    assert found["labels"].tolist() == [[1, 2, 3], [-100, -100, -100], [-100] * 3]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert found["score"].tolist() == [0.5, 1.5, 2.5]
    assert {found[name].dtype for name in ("input_ids", "labels")} == {np.dtype("int64")}


def test_each_array_has_its_own_value_and_length() -> None:
    data = {"input_ids": [[5, 6], [8]], "labels": [[1], [2, 3, 4]], "speech": [[0.5], [1, 2]]}

    found = pad(data, {"input_ids": 9, "speech": -1.5})

    assert found["input_ids"].tolist() == [[5, 6], [8, 9]]
    assert found["labels"].tolist() == [[1, -100, -100], [2, 3, 4]]
    assert found["speech"].tolist() == [[0.5, -1.5], [1.0, 2.0]]


def test_a_mask_that_is_there_stays_and_is_padded_with_0() -> None:
    found = pad({"input_ids": ROWS, "attention_mask": [[1, 0, 1], [1], []]})

    assert found["attention_mask"].tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_without_tokens_there_is_no_mask() -> None:
    assert list(pad({"speech": [[1.0], [1.0, 2.0]]})) == ["speech"]


def test_rows_may_be_arrays_tensors_and_have_further_axes() -> None:
    frames = [np.ones((2, 3), np.float32), np.ones((1, 3), np.float32)]
    found = pad({"frames": frames, "input_ids": [Tensor([1, 2]), np.array([3])]})

    assert found["frames"].shape == (2, 2, 3)
    assert found["frames"].dtype == np.float32
    assert found["frames"][1].tolist() == [[1.0] * 3, [0.0] * 3]
    assert found["attention_mask"].tolist() == [[1, 1], [1, 0]]


def test_a_whole_array_of_tokens_has_a_mask_too() -> None:
    found = pad({"input_ids": np.array([[1, 2], [3, 4]], np.int32), "labels": np.array([0, 1])})

    assert found["input_ids"].dtype == np.int32
    assert found["attention_mask"].tolist() == [[1, 1], [1, 1]]
    assert found["labels"].tolist() == [0, 1]


def test_a_type_that_cannot_hold_the_value_becomes_one_that_can() -> None:
    rows = [np.array([1, 2], np.uint8), np.array([3], np.uint8)]

    found = padded(np, {"labels": rows}, pad=True)["labels"]

    assert found.tolist() == [[1, 2], [3, -100]]


@pytest.mark.parametrize(
    ("data", "how", "says"),
    [
        (
            {"input_ids": ROWS},
            {"input_idz": 1},
            "pad names input_idz, but the arrays are input_ids",
        ),
        ({"input_ids": ROWS}, "longest", "pad is 'longest'; expected True"),
        ([[1], [1, 2]], True, "pad is for arrays by name, and data is a list"),
        ({"a": [np.ones((1, 2)), np.ones((1, 3))]}, True, r"a\[1\] has shape \[1, 3\]"),
    ],
)
def test_what_cannot_be_padded_is_named(data: Any, how: Any, says: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=says):
        pad(data, how)


def test_ragged_rows_without_pad_say_what_to_do() -> None:
    with pytest.raises(errors.InvalidArgument, match=r"input_ids.*put_dataset\(…, pad=True\)"):
        arrays(ENCODED)


TEXT = {
    "target_kind": None,
    "input_shape": None,
    "input_dtype": None,
    "classes": None,
    "arrays": [{"name": "input_ids", "dtype": "int64", "shape": [3, 4]}],
}


def test_show_lists_arrays_with_type_and_shape(
    kit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    show_table(Dataset.model_validate({**kit.DATASET, **TEXT}))

    shown = capsys.readouterr().out.splitlines()
    assert any("1 array" in line for line in shown)
    assert shown[-2].split() == ["input_ids", "int64", "(3,", "4)"]


def test_a_first_spec_is_for_inputs_and_targets(kit: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match="has the arrays input_ids; a first spec"):
        starter_spec(Dataset.model_validate({**kit.DATASET, **TEXT}))
