"""The example ledger and replays of steps over HTTP."""

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Ledger, StepExamples, Table
from batchgrad_engine.checkpoints import checkpoints, job_directory, ledger_files
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.example_ledger import Ledger as Columns
from batchgrad_service.reading.table_content import write_table
from batchgrad_service.store.records import to_cursor
from batchgrad_service.store.step_blocks import blocks
from tests.engine.attempts import ScriptedCommands
from tests.service.building import checkpointed, npz, problem, spec, started
from tests.service.conftest import Bench
from tests.service.trained import take_attempt

EXAMPLES, HELD_OUT = 50, 10


def push(bench: Bench, **more: Any) -> None:
    random = np.random.default_rng(5)
    inputs = random.normal(size=(EXAMPLES, 4)).astype(np.float32)
    arrays: dict[str, Any] = {"inputs": inputs, "targets": random.integers(0, 2, EXAMPLES), **more}
    assert bench.http.put("/v1/datasets/digits", content=npz(**arrays)).status_code in {200, 201}


def submit(bench: Bench, **changes: Any) -> str:
    fields = {"validation_fraction": 0.2, "batch_size": 16, "threads": 1, **changes}
    answer = bench.http.post("/v1/jobs", json=spec(**fields).model_dump(mode="json"))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def job(bench: Bench) -> str:
    """A job that has done its 20 steps, with checkpoints after steps 7 and 20."""
    push(bench)
    job_id = submit(bench)
    take_attempt(bench, job_id, ScriptedCommands(7, "pause"))
    take_attempt(bench, job_id)
    return job_id


def ledger(bench: Bench, job_id: str, **query: Any) -> Ledger:
    answer = bench.http.get(f"/v1/jobs/{job_id}/examples", params=query)
    assert answer.status_code == 200, answer.text
    return Ledger.model_validate(answer.json())


def newest(bench: Bench, job_id: str) -> Snapshot:
    found, _ = job_directory.newest(bench.data_dir / "jobs" / job_id)
    assert found is not None
    return found


def test_every_training_example_with_its_figures(bench: Bench, job: str) -> None:
    columns = newest(bench, job).ledger
    targets = np.load(next(bench.data_dir.glob("datasets/*/targets.npy")))
    found = ledger(bench, job, order="example")
    assert (found.step, found.order, found.next) == (20, "example", None)
    assert len(found.data) == EXAMPLES - HELD_OUT
    assert [x.example for x in found.data] == list(np.flatnonzero(columns["times_seen"]))
    for x in found.data:
        n, seen = x.example, columns["times_seen"][x.example]
        assert (x.times_seen, x.target) == (seen, targets[n])
        assert (x.mean_loss, x.last_loss) == (
            columns["loss_sum"][n] / seen,
            columns["last_loss"][n],
        )
        assert (x.mean_norm, x.last_norm) == (
            columns["norm_sum"][n] / seen,
            columns["last_norm"][n],
        )


@pytest.mark.parametrize(
    "order", ["mean_norm", "mean_loss", "last_norm", "last_loss", "times_seen", "example"]
)
def test_all_pages_together_are_the_sorted_ledger(bench: Bench, job: str, order: str) -> None:
    whole = ledger(bench, job, order="example").data
    sign = 1 if order == "example" else -1
    expected = sorted(whole, key=lambda x: (sign * getattr(x, order), x.example))
    for limit in (1, 7, 39, 40, 1000):
        page = ledger(bench, job, order=order, limit=limit)
        found = page.data
        while page.next is not None:
            assert len(page.data) == limit
            page = ledger(bench, job, order=order, limit=limit, after=page.next)
            found = [*found, *page.data]
        assert found == expected, limit


def test_the_largest_mean_comes_first_by_default(bench: Bench, job: str) -> None:
    assert ledger(bench, job) == ledger(bench, job, order="mean_norm")


def test_unseen_examples_come_last_without_figures(bench: Bench) -> None:
    push(bench)
    job_id = submit(bench)
    take_attempt(bench, job_id, ScriptedCommands(1, "pause"))  # one minibatch of 16 out of 40
    for order in ("mean_loss", "last_norm", "times_seen"):
        data = ledger(bench, job_id, order=order).data
        assert [x.times_seen for x in data] == [1] * 16 + [0] * 24
        assert {x.mean_loss for x in data[16:]} == {x.last_norm for x in data[16:]} == {None}
        assert [x.example for x in data[16:]] == sorted(x.example for x in data[16:])


def test_unseen_examples_come_after_negative_losses(bench: Bench, job: str) -> None:
    *_, one, other = np.flatnonzero(newest(bench, job).ledger["times_seen"])
    columns = Columns(EXAMPLES)  # losses of linear_error have no lower bound
    columns.add(np.array([one, other]), np.array([-9.0, -3.0]), np.array([1.0, 1.0]))
    ledger_files.write(bench.data_dir, 1, columns.state())
    bench.supervisor.ledgers[job] = bench.data_dir / "ledger.safetensors"
    for order in ("last_loss", "mean_loss"):
        assert [x.example for x in ledger(bench, job, order=order, limit=2).data] == [other, one]


def test_running_job_shows_what_its_engine_has_just_written(bench: Bench, job: str) -> None:
    columns = Columns(EXAMPLES)
    columns.add(np.array([3, 5]), np.array([1.0, 2.0]), np.array([4.0, 8.0]))
    ledger_files.write(bench.data_dir, 33, columns.state())
    bench.supervisor.ledgers[job] = bench.data_dir / "ledger.safetensors"
    assert ledger(bench, job, limit=1).step == 33
    (bench.data_dir / "ledger.safetensors").write_bytes(b"torn")
    assert ledger(bench, job, limit=1).step == 20  # then the newest checkpoint will do


def test_values_have_no_class(bench: Bench) -> None:
    push(bench, targets=np.random.default_rng(0).normal(size=(EXAMPLES, 2)))
    job_id = submit(bench, loss="squared_error")
    take_attempt(bench, job_id)
    assert {x.target for x in ledger(bench, job_id).data} == {None}


def test_ledger_outlives_its_dataset(bench: Bench, job: str) -> None:
    assert bench.http.delete("/v1/datasets/digits").status_code == 204
    assert {x.target for x in ledger(bench, job).data} == {None}
    gone = problem(bench.http.get(f"/v1/jobs/{job}/steps/3/examples"), 409)
    assert gone["code"] == "dataset_gone"


def test_a_job_without_a_ledger_gives_a_problem(bench: Bench) -> None:
    push(bench)
    found = problem(bench.http.get(f"/v1/jobs/{submit(bench)}/examples"), 409)
    assert (found["code"], "wait for its first step" in found["detail"]) == ("no_ledger", True)
    assert problem(bench.http.get("/v1/jobs/job_0/examples"), 404)["code"] == "job_not_found"


def test_a_cursor_of_another_sort_key_is_refused(bench: Bench, job: str) -> None:
    after = ledger(bench, job, order="mean_loss", limit=3).next
    forged = [f"last_loss {place}" for place in ("0x1p+1024 3", "0x1p+0 -1", f"0x1p+0 {2**63}")]
    for wrong in (after, "?", "bm9uc2Vuc2U", *map(to_cursor, forged)):
        answer = bench.http.get(
            f"/v1/jobs/{job}/examples", params={"order": "last_loss", "after": wrong}
        )
        assert problem(answer, 422)["code"] == "invalid_cursor"


def test_ledger_is_read_without_the_parameters_beside_it(bench: Bench) -> None:
    job_id, attempt = started(bench.store)
    examples, parameters = 100_000, 8_000_000
    snapshot = Snapshot(
        step=1,
        parameters={"0.weight": np.zeros(parameters, np.float32)},  # 32 MB
        optimizer={},
        transform=None,
        parameters_digest="sha256:" + "0" * 64,
        build_info={},
        ledger=Columns(examples).state() | {"times_seen": np.ones(examples, np.uint32)},  # 4 MB
    )
    folder = bench.data_dir / "jobs" / job_id
    folder.mkdir(parents=True)
    path = checkpoints.write(folder, snapshot).path
    assert bench.store.record_checkpoint(
        job_id, attempt, checkpointed(1).model_copy(update={"file": path.name})
    )
    tracemalloc.start()
    try:
        assert len(ledger(bench, job_id, limit=5).data) == 5
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80 * examples  # some columns at a time, never the 32 MB


def replayed(bench: Bench, job_id: str, step: int, **query: Any) -> StepExamples:
    answer = bench.http.get(f"/v1/jobs/{job_id}/steps/{step}/examples", params=query)
    assert answer.status_code == 200, answer.text
    return StepExamples.model_validate(answer.json())


def test_finished_job_shows_the_influence_of_examples(bench: Bench, job: str) -> None:
    for step, origin in ((7, 0), (8, 7), (20, 7)):
        found = replayed(bench, job, step)
        assert (found.step, found.replayed_from, found.verified) == (step, origin, True)
        assert sum(x.share or 0 for x in found.data) == pytest.approx(1, rel=1e-4)
    assert len(replayed(bench, job, 20, order="norm", limit=3).data) == 3


def _record_again(bench: Bench, job_id: str, step: int, **changes: Any) -> None:
    """Replace a step's row."""
    [row] = bench.store.steps(job_id, after=step - 1, limit=1).data
    with bench.store.writing() as connection:
        blocks.put(connection, job_id, [row.model_dump() | changes], exact=False)


def test_replay_detects_a_modified_row(bench: Bench, job: str) -> None:
    _record_again(bench, job, 9, gradient_checksum="0" * 32)
    assert not replayed(bench, job, 9).verified


def test_replay_uses_an_older_checkpoint_if_one_is_damaged(bench: Bench, job: str) -> None:
    path = min((bench.data_dir / "jobs" / job).glob("step-*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = replayed(bench, job, 9)
    assert (found.replayed_from, found.verified) == (0, True)


def test_step_that_was_not_done_is_not_found(bench: Bench, job: str) -> None:
    found = problem(bench.http.get(f"/v1/jobs/{job}/steps/21/examples"), 404)
    assert (found["code"], "steps done: 20" in found["detail"]) == ("step_not_found", True)


def test_refusal_of_a_long_replay_names_the_checkpoints(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(replay_timeout_seconds=30.0)
    push(bench)
    job_id = submit(bench)
    take_attempt(bench, job_id, ScriptedCommands(7, "pause"))
    take_attempt(bench, job_id)
    slow = {"compute": 1.5, "update": 1.5, "compare": 100.0}
    for step in range(1, 21):  # as on a slower machine, or a larger dataset
        _record_again(bench, job_id, step, phases=slow, workers=2)
    assert replayed(bench, job_id, 13).verified  # six steps of 4.5 s
    found = problem(bench.http.get(f"/v1/jobs/{job_id}/steps/15/examples"), 409)
    assert found["code"] == "replay_too_long"
    assert "begins at step 7" in found["detail"]
    assert "[7, 20]" in found["detail"]


def test_replay_of_a_job_without_files_fails_with_a_message(
    bench: Bench, job: str, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset: Path = next(bench.data_dir.glob("datasets/*"))
    (dataset / "inputs.npy").unlink()
    assert problem(bench.http.get(f"/v1/jobs/{job}/steps/9/examples"), 500)["code"] == (
        "replay_failed"
    )
    assert "no inputs" in capfd.readouterr().err
    shutil.rmtree(dataset)


def test_classes_with_names_are_named(bench: Bench) -> None:
    push(bench)
    directory = bench.data_dir / "datasets"
    [content] = directory.iterdir()
    write_table(Table(columns=[], classes=["no", "yes"]), content)
    job_id = submit(bench)
    take_attempt(bench, job_id)
    ledger = Ledger.model_validate(bench.http.get(f"/v1/jobs/{job_id}/examples").json())
    assert {entry.class_name for entry in ledger.data} == {"no", "yes"}
    for entry in ledger.data[:3]:
        assert entry.target is not None
        assert entry.class_name == ("no", "yes")[int(entry.target)]
        found = bench.http.get(f"/v1/jobs/{job_id}/examples/{entry.example}").json()
        assert found["class_name"] == entry.class_name
    assert "<b>yes</b>" in bench.http.get(f"/jobs/{job_id}/examples").text
