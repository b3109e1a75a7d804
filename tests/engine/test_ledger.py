"""The example ledger, against figures added up in the test, in runs that stop in every way."""

import io
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.checkpoints import ledger_files
from batchgrad_engine.checkpoints.example_ledger import Ledger
from batchgrad_engine.checkpoints.ledger_files import LedgerFile, NoLedger
from batchgrad_engine.commands import CommandReader
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.messages import Command, LedgerWritten
from batchgrad_engine.preparation.job import prepare
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.nn.gradients import loss_and_error
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.runtime.threads import ThreadPool
from tests.engine.attempts import ScriptedCommands, attempt, newest, rows
from tests.engine.small_job import spec

EXACT = {"precision": "float64"}


def by_hand(dataset: Path, **changes: Any) -> dict[int, list[tuple[float, float]]]:
    """(ℓ_n, ‖g_n‖) of each use of example n in a step, from the gradients themselves."""
    prepared = prepare(spec(**changes), DatasetSource(dataset), None)
    model = prepared.model
    assert isinstance(model, TrainableNetwork)
    network, loss = model.network, model.loss
    seen: dict[int, list[tuple[float, float]]] = defaultdict(list)
    with closing(InlineExecutor(prepared.config, 1)) as executor, ThreadPool(1) as pool:
        coordinator = prepared.coordinator(executor, pool, None, None)
        for step in range(prepared.steps_planned):
            ids = prepared.sampler.minibatch(step)
            batch, views = prepared.examples.rows(ids), network.views(coordinator.parameters)
            outputs = network.forward(views, batch.inputs)[-1]
            losses, _ = loss_and_error(loss, outputs, batch.targets)
            each = model.each(views, batch)
            for place, example in enumerate(ids):
                gradient = np.concatenate([part[place].ravel() for part in each.values()])
                seen[int(example)].append((float(losses[place]), float(np.linalg.norm(gradient))))
            coordinator.step(step)
    return seen


def test_ledger_is_what_every_step_saw(dataset: Path, job_directory: Path) -> None:
    attempt(spec(**EXACT), dataset, job_directory)
    ledger = newest(job_directory).ledger
    seen = by_hand(dataset, **EXACT)
    assert len(seen) == 91  # ten of the 101 are for validation
    for example in range(101):
        losses, norms = zip(*seen[example], strict=True) if example in seen else ((), ())
        assert ledger["times_seen"][example] == len(losses)
        assert ledger["loss_sum"][example] == pytest.approx(sum(losses), rel=1e-10)
        assert ledger["norm_sum"][example] == pytest.approx(sum(norms), rel=1e-10)
        assert ledger["last_loss"][example] == pytest.approx(losses[-1] if losses else 0)
        assert ledger["last_norm"][example] == pytest.approx(norms[-1] if norms else 0)


def remembered(directory: Path) -> dict[str, Any]:
    found = newest(directory)
    columns = {name: column.tobytes() for name, column in found.ledger.items()}
    return {**columns, "noise": found.progress["noise"]}


@pytest.mark.parametrize("kind", ["pause", "cancel", "interrupt"])
def test_same_bits_through_every_stop(dataset: Path, tmp_path: Path, kind: str) -> None:
    (dataset / "weights.npy").unlink()  # equal weights: the noise scale is determined
    whole = rows(attempt(spec(), dataset, tmp_path / "whole"))
    halves = rows(attempt(spec(), dataset, tmp_path / "halves", ScriptedCommands(7, kind)))
    halves += rows(attempt(spec(), dataset, tmp_path / "halves"))
    assert remembered(tmp_path / "halves") == remembered(tmp_path / "whole")
    figures = [
        [(row.noise_scale, row.norm_test, row.norms, row.gradient_checksum) for row in of]
        for of in (whole, halves)
    ]
    assert figures[0] == figures[1]


def test_death_between_checkpoints_counts_nothing_twice(dataset: Path, tmp_path: Path) -> None:
    attempt(spec(), dataset, tmp_path / "whole")
    attempt(spec(), dataset, tmp_path / "killed", ScriptedCommands(4, "pause"))
    attempt(spec(), dataset, tmp_path / "killed", ScriptedCommands(6, "pause"))
    max((tmp_path / "killed").glob("step-*")).unlink()  # as if steps 5 to 10 had not been saved
    attempt(spec(), dataset, tmp_path / "killed")
    assert remembered(tmp_path / "killed") == remembered(tmp_path / "whole")


def test_threads_change_no_bit_of_it(dataset: Path, tmp_path: Path) -> None:
    for threads in (1, 3):
        attempt(spec(threads=threads), dataset, tmp_path / str(threads))
    assert remembered(tmp_path / "1") == remembered(tmp_path / "3")


def test_dropped_examples_do_not_enter(dataset: Path, job_directory: Path) -> None:
    inputs = np.load(dataset / "inputs.npy")
    inputs[[11, 42]] = 3e38
    np.save(dataset / "inputs.npy", inputs)
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    job = spec(
        model={"layers": [{"kind": "linear", "out_features": 3}]},
        standardize=False,
        validation_fraction=0.0,
        loss="squared_error",
        nonfinite="drop",
        optimizer={"kind": "sgd", "learning_rate": 1e-3},
    )
    attempt(job, dataset, job_directory)
    ledger = newest(job_directory).ledger
    assert list(np.flatnonzero(ledger["times_seen"] == 0)) == [11, 42]
    assert all(np.isfinite(column).all() for column in ledger.values())


def test_requested_during_a_run_it_is_that_of_the_steps_so_far(
    dataset: Path, job_directory: Path
) -> None:
    messages = attempt(spec(epochs=1), dataset, job_directory, ScriptedCommands(ledger=True))
    assert [m.step for m in messages if isinstance(m, LedgerWritten)] == [0, 1, 2, 3, 4]
    file = LedgerFile(job_directory / "ledger.safetensors")
    assert file.step == 4
    assert file.column("times_seen").sum() == 80
    assert not list(job_directory.glob("*.tmp"))


def test_checkpoint_reads_as_a_ledger_file(dataset: Path, job_directory: Path) -> None:
    attempt(spec(epochs=1), dataset, job_directory)
    file = LedgerFile(max(job_directory.glob("step-*")))
    assert file.step == 5
    np.testing.assert_array_equal(file.column("loss_sum"), newest(job_directory).ledger["loss_sum"])


def test_file_stays_readable_when_it_is_replaced(tmp_path: Path) -> None:
    ledger = Ledger(3)
    ledger_files.write(tmp_path, 1, ledger.state())
    file = LedgerFile(tmp_path / "ledger.safetensors")
    ledger.add(np.array([1]), np.array([2.0]), np.array([3.0]))
    ledger_files.write(tmp_path, 2, ledger.state())
    assert (file.step, list(file.column("times_seen"))) == (1, [0, 0, 0])
    again = LedgerFile(tmp_path / "ledger.safetensors")
    assert (again.step, list(again.column("last_norm"))) == (2, [0, 3, 0])


def test_what_holds_no_ledger_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoLedger, match="absent"):
        LedgerFile(tmp_path / "absent")
    (tmp_path / "torn").write_bytes(b"\x10\0\0\0")
    with pytest.raises(NoLedger, match="torn"):
        LedgerFile(tmp_path / "torn")


def test_a_ledger_command_leaves_a_pause_in_force() -> None:
    lines = "".join(
        Command.model_validate({"command": word}).model_dump_json() + "\n"
        for word in ("pause", "ledger")
    )
    stored: list[int] = []
    commands = CommandReader(io.StringIO(lines), stored.append)
    while not commands.interrupted:  # its thread reads the two lines at once
        pass
    assert commands.command == "pause"
    assert [commands.ledger_wanted(), commands.ledger_wanted()] == [True, False]
