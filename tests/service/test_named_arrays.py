"""Datasets of arrays of any names: stored, described, refused for layers, and shown."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic import command
from sqlalchemy import create_engine, text

from batchgrad.contract import Dataset, ExampleInput, JobSpec
from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.datasets.validation import inspect
from batchgrad_service.problems import InvalidError
from batchgrad_service.store import Store
from batchgrad_service.validation.job_data import JobData, StoredData
from batchgrad_service.validation.plan import plan
from batchgrad_workers.data.dataset import StoredDataset
from tests.service.building import NOW, problem, spec, started
from tests.service.conftest import Bench
from tests.service.test_datasets import expected_digest
from tests.service.test_old_databases import alembic
from tests.service.trained import operated, train
from tests.service.uploads import CLASSES, INPUTS, Put, npz

TOKENS = np.arange(8).reshape(4, 2)
TEXT: dict[str, Any] = {
    "input_ids": TOKENS,
    "attention_mask": TOKENS > 2,
    "labels": TOKENS - 100,
}


def test_arrays_of_any_names_are_stored_and_listed(put: Put, datasets: Datasets) -> None:
    stored, outcome = put(npz(**TEXT, units=CLASSES, weights=np.ones(4)))

    assert outcome == "created"
    assert [(each.name, each.dtype, each.shape) for each in stored.arrays] == [
        ("attention_mask", "bool", [4, 2]),
        ("input_ids", "int64", [4, 2]),
        ("labels", "int64", [4, 2]),
    ]
    assert (stored.examples, stored.weighted) == (4, True)
    assert (stored.input_shape, stored.input_dtype, stored.target_kind) == (None, None, None)
    assert stored.digest == expected_digest(
        weights=np.ones(4), units=CLASSES, **{name: TEXT[name] for name in sorted(TEXT)}
    )
    found = StoredDataset.open(datasets.directory(stored.digest)).arrays
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in TEXT.items()
    }
    assert put(npz(**TEXT, units=CLASSES, weights=np.ones(4))) == (stored, "same")


def test_inputs_and_targets_are_listed_too(put: Put) -> None:
    plain, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    with_age, _ = put(npz(inputs=INPUTS, targets=CLASSES, age=np.ones(4)), replace=True)

    assert [each.name for each in plain.arrays] == ["inputs", "targets"]
    assert plain.arrays[0].shape == [4, 3]
    assert [each.name for each in with_age.arrays] == ["inputs", "targets", "age"]
    assert (with_age.target_kind, with_age.classes, with_age.input_shape) == ("classes", 3, [3])


@pytest.mark.parametrize(
    ("arrays", "kind"),
    [
        ({"inputs": INPUTS, "targets": INPUTS}, "values"),
        ({"inputs": INPUTS, "targets": TOKENS}, None),  # a mask of classes, of a picture
        ({"inputs": INPUTS, "targets": CLASSES - 100}, None),
        ({"inputs": CLASSES, "targets": CLASSES}, None),
        ({"inputs": INPUTS}, None),
        ({"targets": CLASSES}, None),
    ],
)
def test_with_other_arrays_targets_may_be_anything(
    put: Put, arrays: dict[str, Any], kind: str | None
) -> None:
    stored, _ = put(npz(**arrays, age=np.ones(4)))

    assert stored.target_kind == kind
    assert stored.input_dtype == (arrays["inputs"].dtype.name if "inputs" in arrays else None)


def data(directory: Path, **arrays: Any) -> JobData:
    directory.mkdir()
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)
    dataset = Dataset(name=directory.name, created_at=NOW, **asdict(inspect(directory)))
    return JobData(dataset, directory)


LAYERS = {"model": {"layers": [{"kind": "linear", "out_features": 3}]}, "batch_size": 2}


def refused(job: JobSpec, found: JobData) -> tuple[str, str]:
    with pytest.raises(InvalidError) as caught:
        plan(job, found)
    [error] = caught.value.errors
    return error.pointer, error.detail


def test_layers_are_not_trained_on_other_arrays(tmp_path: Path) -> None:
    pointer, detail = refused(spec(**LAYERS), data(tmp_path / "text", **TEXT))

    assert pointer == "/dataset"
    assert "Dataset text has the arrays attention_mask [4, 2], input_ids [4, 2]" in detail
    assert "trained on inputs [n, …] and targets" in detail
    assert "PyTorch" in detail


def test_layers_are_not_validated_on_other_arrays(tmp_path: Path) -> None:
    own = data(tmp_path / "own", inputs=INPUTS, targets=CLASSES)
    other = data(tmp_path / "text", **TEXT)
    job = spec(**LAYERS, validation={"dataset": "text"})

    pointer, detail = refused(
        job, JobData(own.dataset, own.directory, StoredData(other.dataset, other.directory))
    )

    assert pointer == "/validation/dataset"
    assert "Dataset text has the arrays" in detail


def test_layers_are_trained_beside_other_arrays(tmp_path: Path) -> None:
    found = data(tmp_path / "more", inputs=INPUTS, targets=CLASSES, age=np.ones(4))

    assert plan(spec(**LAYERS), found).parameters == 12


def test_an_array_says_which_rows_are_held_out(put: Put, datasets: Datasets) -> None:
    stored, _ = put(npz(inputs=INPUTS, targets=CLASSES, split=np.array([0, 1, 2, 0])))
    job = spec(**LAYERS, validation={"rows": "split"})

    planned = plan(job, JobData(stored, datasets.directory(stored.digest)))

    assert (planned.training_examples, planned.validation_examples) == (2, 1)


def test_a_job_on_other_arrays_is_refused_over_http(bench: Bench) -> None:
    assert bench.http.put("/v1/datasets/digits", content=npz(**TEXT)).status_code == 201

    for route in ("/v1/jobs", "/v1/plans"):
        answer = bench.http.post(route, json=spec().model_dump(mode="json"))
        assert problem(answer, 422)["errors"][0]["pointer"] == "/dataset"
    page = bench.http.get("/submit").text
    assert "attention_mask bool [2], input_ids int64 [2], labels int64 [2]" in page


def job_on(bench: Bench, **arrays: Any) -> str:
    """A job that has ended, on these arrays, as one of a PyTorch model would be."""
    stored = bench.http.put("/v1/datasets/digits?replace=true", content=npz(**arrays)).json()
    job_id, _ = started(bench.store)
    with bench.store.writing() as connection:
        connection.execute(text("UPDATE jobs SET dataset_digest = :d"), {"d": stored["digest"]})
    return job_id


def test_an_example_is_shown_with_each_of_its_arrays(bench: Bench) -> None:
    job_id = job_on(bench, **TEXT)
    url = f"/v1/jobs/{job_id}/examples/3"

    found = ExampleInput.model_validate(bench.http.get(url).json())

    assert (found.input, found.target) == (None, None)
    assert found.arrays == {name: array[3].tolist() for name, array in TEXT.items()}
    row = bench.http.get(url, params={"format": "npy", "array": "labels"})
    assert row.content.endswith(TEXT["labels"][3].tobytes())
    for kind in ("npy", "png"):
        missing = problem(bench.http.get(url, params={"format": kind}), 422)
        assert "no array inputs: choose one by ?array=" in missing["detail"]
    flat = problem(bench.http.get(url, params={"format": "png", "array": "labels"}), 422)
    assert "Labels of shape [2] cannot be drawn" in flat["detail"]
    assert "0 to 3" in problem(bench.http.get(url[:-1] + "4"), 404)["detail"]


def test_any_array_is_drawn_as_a_picture(bench: Bench) -> None:
    pictures = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    job_id = job_on(bench, mask=pictures, age=CLASSES)

    drawn = bench.http.get(
        f"/v1/jobs/{job_id}/examples/1", params={"format": "png", "array": "mask"}
    )

    assert drawn.headers["content-type"] == "image/png"


def test_pages_of_a_job_list_the_arrays(bench: Bench) -> None:
    job_id = job_on(bench, **TEXT)

    page = bench.http.get(f"/jobs/{job_id}").text

    for name in TEXT:
        assert f'<th scope="row">{name}</th>' in page
    assert "<td>bool</td><td>(4, 2)</td>" in page
    assert bench.http.get(f"/jobs/{job_id}/examples").status_code == 200
    plain = job_on(bench, inputs=INPUTS, targets=CLASSES, units=CLASSES)
    assert 'aria-label="Arrays"' not in bench.http.get(f"/jobs/{plain}").text


def test_a_network_s_inputs_and_targets_are_asked_for(bench: Bench) -> None:
    assert bench.http.put(
        "/v1/datasets/own", content=npz(inputs=INPUTS, targets=CLASSES)
    ).is_success
    assert bench.http.put("/v1/datasets/text", content=npz(**TEXT)).is_success
    assert bench.http.put("/v1/datasets/more", content=npz(inputs=INPUTS, age=CLASSES)).is_success
    job = train(bench, "own", 3)

    for dataset, kind, says in (
        ("text", "predictions", "no inputs"),
        ("text", "evaluations", "no inputs"),
        ("more", "evaluations", "no targets"),
    ):
        done = operated(bench, f"/v1/jobs/{job.id}/{kind}", dataset=dataset)
        assert done.problem is not None
        assert says in done.problem.detail
    done = operated(bench, f"/v1/jobs/{job.id}/predictions", dataset="more")
    assert done.status == "succeeded"


def test_arrays_of_older_datasets_are_listed_at_the_start(
    put: Put, datasets: Datasets, store: Store
) -> None:
    stored, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    with store.writing() as connection:
        connection.execute(text("UPDATE datasets SET arrays = NULL"))
    assert store.dataset(stored.name).arrays == []

    datasets.clean()

    assert store.dataset(stored.name) == stored
    assert store.contents_without_arrays() == []


def test_the_migration_keeps_datasets_and_can_be_reverted(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'old.sqlite3'}")
    row = (
        "'old', 'sha256:1', 4, '[3]', 'float32', 'classes', 3, 0, 64, '2026-01-01 00:00:00.0', NULL"
    )
    read = text("SELECT name, digest, input_shape, target_kind, classes FROM datasets")
    with engine.begin() as connection:
        command.upgrade(alembic(connection), "0016")
        connection.execute(text(f"INSERT INTO datasets VALUES ({row})"))  # noqa: S608
        before = connection.execute(read).all()
        command.upgrade(alembic(connection), "0017")
        assert connection.execute(read).all() == before
        named = row.replace("'old'", "'new'").replace("'float32', 'classes'", "NULL, NULL")
        connection.execute(text(f"INSERT INTO datasets VALUES ({named}, '[]')"))  # noqa: S608
        indexes = text("SELECT name FROM sqlite_master WHERE type = 'index'")
        assert "ix_datasets_digest" in connection.execute(indexes).scalars().all()
        command.downgrade(alembic(connection), "0016")
        assert connection.execute(read).all() == before
    engine.dispose()
