"""Client.predict, predict_to and evaluate: what is sent, and how results are fetched."""

import json
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest

from batchgrad import errors
from batchgrad.http import results
from tests.clients.fake_uploads import FakeUploads

PARAMETERS = {"parameters_digest": "sha256:aa", "parameters_step": 7}
RESULT = b'{"who":"a","prediction":"x","probability_x":0.75,"probability_y":0.25}\n' * 3


class Predicting(FakeUploads):
    """Takes uploads; predicts and evaluates at once, with `result` as the file."""

    def __init__(self, kit: Any, result: bytes = RESULT, **done: Any) -> None:
        super().__init__(kit)
        self.result = result
        self.done = {"kind": "prediction", "bytes": len(result), **PARAMETERS, **done}
        self.bodies: list[dict[str, Any]] = []
        self.ranges: list[str] = []
        self.deleted = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path.endswith(("/predictions", "/evaluations")):
            self.bodies.append(json.loads(request.content))
            if {"rows", "inputs"} & set(self.bodies[-1]):
                found = {"prediction": ["x"], "warnings": ["one gap"], **PARAMETERS}
                return self.kit.answer(200, found)
            return self.kit.answer(202, self.operation("succeeded", **self.done))
        if path.endswith("/result"):
            self.ranges.append(request.headers["Range"])
            first, last = map(int, self.ranges[-1].removeprefix("bytes=").split("-"))
            return httpx2.Response(206, content=self.result[first : last + 1])
        if request.method == "DELETE":
            self.deleted += 1
            return httpx2.Response(204)
        return super().__call__(request)


def test_rows_are_sent_and_warnings_shown(kit: Any) -> None:
    service = Predicting(kit)
    rows = [{"age": np.float64(3), "color": "red"}]
    with kit.Script(service).client() as client, pytest.warns(UserWarning, match="one gap"):
        found = client.predict("job_1", rows, which="last")
    assert service.bodies == [{"rows": [{"age": 3.0, "color": "red"}], "which": "last"}]
    assert (found.prediction, found.parameters_step) == (["x"], 7)


@pytest.mark.filterwarnings("ignore:one gap")
def test_a_small_array_is_sent_as_numbers_and_a_large_one_as_a_file(kit: Any) -> None:
    service = Predicting(kit)
    with kit.Script(service).client() as client:
        client.predict("job_1", np.ones((2, 3), np.float32))
        client.predict("job_1", np.ones((2000, 60), np.float32))
    assert service.bodies[0] == {"inputs": [[1.0] * 3] * 2}
    assert service.bodies[1]["file"]["format"] == "npz"
    [content] = service.parts.values()
    assert content.startswith(b"PK")


def test_a_frame_s_predictions_are_fetched_in_pieces(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "PIECE_BYTES", 100)
    service = Predicting(kit)
    with kit.Script(service).client() as client:
        found = client.predict("job_1", pd.DataFrame({"age": [1.0, 2.0, 3.0]}))
    assert service.bodies[0]["format"] == "jsonl"
    assert service.ranges == ["bytes=0-99", "bytes=100-199", f"bytes=200-{len(RESULT) - 1}"]
    assert service.deleted == 1
    assert found.prediction == ["x"] * 3
    assert found.probabilities == [[0.75, 0.25]] * 3
    assert (found.classes, found.ids) == (["x", "y"], ["a"] * 3)
    assert (found.parameters_digest, found.parameters_step) == ("sha256:aa", 7)


def test_several_numbers_are_rows(kit: Any) -> None:
    service = Predicting(kit, b'{"prediction_a":1.5,"prediction_b":2}\n' * 2)
    with kit.Script(service).client() as client:
        found = client.predict("job_1", dataset="d")
    assert service.bodies == [{"dataset": "d", "format": "jsonl"}]
    assert found.prediction == [[1.5, 2]] * 2
    assert found.ids is None
    assert found.classes is None


def test_a_file_is_written_when_it_is_complete(kit: Any, tmp_path: Path) -> None:
    new, out = tmp_path / "new.csv", tmp_path / "out.csv"
    new.write_text("a;b\n1;2\n")
    with kit.Script(Predicting(kit)).client() as client:
        text = {"delimiter": ";"}
        assert client.predict_to("job_1", out, new, text=text) == out
        assert out.read_bytes() == RESULT
        with pytest.raises(errors.FileFailed, match="--replace"):
            client.predict_to("job_1", out, new)
        service = Predicting(kit, b"other")
    with kit.Script(service).client() as client:
        client.predict_to("job_1", out, new, replace=True, text=text)
    assert out.read_bytes() == b"other"
    assert service.bodies[0]["file"]["text"] == text
    assert service.bodies[0]["format"] == "csv"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "out.csv"]


def test_a_success_without_a_file_is_no_result(kit: Any, tmp_path: Path) -> None:
    service = Predicting(kit)
    service.done["bytes"] = None
    lost = pytest.raises(errors.UnexpectedAnswer, match="succeeded without a file")
    with kit.Script(service).client() as client, lost:
        client.predict_to("job_1", tmp_path / "out.jsonl", dataset="d")
    assert list(tmp_path.iterdir()) == []


def test_a_cut_result_leaves_no_file(kit: Any, tmp_path: Path) -> None:
    service = Predicting(kit)
    service.done["bytes"] = len(RESULT) + 5
    lost = pytest.raises(errors.UnexpectedAnswer, match="leaves out Range")
    with kit.Script(service).client() as client, lost:
        client.predict_to("job_1", tmp_path / "out.jsonl", dataset="d")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "none: give exactly one of data, dataset"),
        ({"data": [{"a": 1}], "dataset": "d"}, "data and dataset"),
        ({"dataset": "no name"}, "dataset"),
        ({"dataset": "d", "which": "first"}, "which"),
        ({"data": object()}, "expected a path"),
    ],
)
def test_wrong_examples_are_refused_before_anything_is_sent(
    kit: Any, given: dict[str, Any], says: str
) -> None:
    service = Predicting(kit)
    refused = pytest.raises(errors.InvalidArgument, match=says)
    with kit.Script(service).client() as client, refused:
        client.predict("job_1", **given)
    assert service.bodies == []
    assert service.parts == {}


def test_an_evaluation_of_a_set(kit: Any) -> None:
    figures = {"examples": 3, "loss": 0.5, "r2": 0.25, **PARAMETERS}
    service = Predicting(kit, kind="evaluation", evaluation=figures, warnings=["few rows"])
    with kit.Script(service).client() as client, pytest.warns(UserWarning, match="few rows"):
        found = client.evaluate("job_1", set="validation")
    assert service.bodies == [{"set": "validation"}]
    assert (found.examples, found.r2, found.accuracy) == (3, 0.25, None)
    refused = pytest.raises(errors.InvalidArgument, match="dataset and set")
    with kit.Script(service).client() as client, refused:
        client.evaluate("job_1", dataset="d", set="validation")
