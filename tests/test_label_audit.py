"""examples/label-audit: the ledger of one training run finds wrong labels."""

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import JobSpec
from batchgrad.user_machine.demo import digits
from batchgrad_engine.checkpoints.ledger_files import LedgerFile
from batchgrad_service.routes.ledger_pages import ledger_page
from tests.engine.attempts import attempt

SCRIPT = Path(__file__).parents[1] / "examples/label-audit/audit.py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    found = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_mean_over_the_run_finds_what_the_trained_model_has_memorised(
    audit: ModuleType, tmp_path: Path
) -> None:
    inputs, labels = digits()
    given = audit.uniform(labels, np.random.default_rng(0))
    np.save(tmp_path / "inputs.npy", inputs / np.float32(16))
    np.save(tmp_path / "targets.npy", given)
    job = JobSpec.model_validate(audit.job("audit", 0, 80))
    attempt(job, tmp_path, tmp_path / "job")
    file = LedgerFile(max((tmp_path / "job").glob("step-*")))
    page = ledger_page(file, job, tmp_path, order="example", after=None, limit=len(labels))
    found = audit.in_training(page, given != labels)
    assert found["in training, mean loss"] >= 0.9
    assert found["in training, mean norm"] >= 0.9
    assert found["last epoch, loss"] < found["in training, mean loss"] - 0.1
    assert found["last epoch, norm"] < found["in training, mean norm"] - 0.1


def test_precision_is_the_share_of_wrong_ones_among_the_first(audit: ModuleType) -> None:
    wrong = [False, True, False, True, False]
    assert audit.precision([1.0, 5.0, 2.0, 0.0, 3.0], wrong) == 0.5
    assert audit.precision([1.0, 5.0, 2.0, 4.0, 3.0], wrong) == 1.0


@pytest.mark.parametrize(
    ("name", "count"),
    [("uniform", 90), ("half_of_the_fours", 90), ("a_fifth_of_the_fours", 36)],
)
def test_as_many_labels_are_flipped_as_the_page_says(
    audit: ModuleType, name: str, count: int
) -> None:
    _, labels = digits()
    given: Any = getattr(audit, name)(labels, np.random.default_rng(1))
    changed = given != labels
    assert np.count_nonzero(changed) == count
    if name != "uniform":
        assert set(labels[changed]) == {4}
        assert set(given[changed]) == {9}


def test_table_has_mean_and_deviation(audit: ModuleType) -> None:
    shown = audit.table({"uniform": [{"loss": 0.5}, {"loss": 0.7}], "other": [{"loss": 1.0}]})
    assert shown.splitlines()[2] == "| loss | 60.0 ± 14.1 | 100.0 ± 0.0 |"


def test_folds_cover_every_example_once(audit: ModuleType) -> None:
    put: list[str] = []
    client = SimpleNamespace(put_arrays=lambda name, *_, **__: put.append(name))
    random = np.random.default_rng(0)
    folds = list(audit.folds(client, np.zeros((17, 2)), np.zeros(17), random))
    assert sorted(np.concatenate([rows for rows, _, _ in folds])) == list(range(17))
    assert put == ["fold", "rest"] * audit.FOLDS
