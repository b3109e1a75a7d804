"""Datasets that cannot be trained on: the message names the place and a remedy that works."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.problems import (
    InvalidError,
)
from batchgrad_service.store import Store
from tests.service.uploads import CLASSES, INPUTS, Put, left_over, npy, npz, zipped

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


@pytest.mark.parametrize(
    ("content", "pointer", "detail"),
    [
        (b"hello", "", "not a readable npz"),
        (b"", "", "not a readable npz"),
        (zipped({}), "/inputs", "holds nothing"),
        (npz(inputs=INPUTS), "/targets", "not targets"),
        (npz(arr_0=INPUTS, arr_1=CLASSES), "", "'arr_0'; expected a name"),
        (npz(**{"input ids": INPUTS}), "", "'input ids'; expected a name of at most 64 letters"),
        (npz(**{"a" * 65: INPUTS}), "", "expected a name of at most 64 letters"),
        (npz(labels=CLASSES, ids=CLASSES), "/ids", "a name that the columns of tables have"),
        (npz(**{f"a{n}": CLASSES for n in range(33)}), "", "33 arrays; expected at most 32"),
        (npz(weights=np.ones(4)), "/inputs", "not inputs"),
        (
            npz(input_ids=INPUTS.astype(int)[:3], labels=CLASSES[:, None]),
            "/labels",
            "labels of shape [4, 1] has 4 rows, input_ids has 3: each example needs one row",
        ),
        (npz(image=NAN, age=CLASSES), "/image", "image[2, 1] is nan"),
        (npz(text=NAMED, age=CLASSES), "/text", "text holds <U3"),
        (npz(image=np.float32(1)), "/image", "image has shape []"),
        (zipped({"inputs": npy(INPUTS)}), "", "'inputs', which is no .npy"),
        (zipped({"inputs.npy": b"", "targets.npy": b""}), "/inputs", "no readable .npy header"),
        (
            npz(inputs=np.array([{}]), targets=CLASSES),
            "/inputs",
            "inputs holds Python objects (pickled)",
        ),
        (npz(inputs=INPUTS, targets=np.array(["a"] * 4)), "/targets", "targets holds <U1"),
        (npz(inputs=INPUTS.astype(str), targets=CLASSES), "/inputs", "names must be replaced"),
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
        (
            npz(inputs=INPUTS, targets=CLASSES, units=CLASSES[:3]),
            "/units",
            "units has 3 rows, inputs has 4: each example needs one unit.",
        ),
        (
            npz(inputs=INPUTS, targets=CLASSES, units=np.ones(4)),
            "/units",
            "units are float64 of shape [4]; expected an integer for each example",
        ),
        (
            npz(inputs=INPUTS, targets=CLASSES, split=CLASSES + 1),
            "/split",
            "split[2] is 3: 0 train",
        ),
        (
            npz(inputs=INPUTS, targets=CLASSES, split=np.ones(4)),
            "/split",
            "split is float64 of shape",
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
            "targets[0] is -1: integer targets are classes",
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
    put: Put, tmp_path: Path, store: Store, content: bytes, pointer: str, detail: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        put(content)
    [error] = caught.value.errors
    assert error.pointer == pointer
    assert detail in error.detail
    assert left_over(tmp_path) == []
    assert store.datasets().data == []


def test_units_are_stored_and_in_the_digest(put: Put, datasets: Datasets) -> None:
    units = np.array([5, 5, -2, 5])
    plain, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    stored, _ = put(npz(inputs=INPUTS, targets=CLASSES, units=units), replace=True)
    assert stored.digest != plain.digest
    assert np.load(datasets.directory(stored.digest) / "units.npy").tolist() == units.tolist()
