"""What stands in examples/ works as it stands."""

from pathlib import Path

import pytest

from batchgrad.contract import JobSpec
from batchgrad.parsing.spec_files import load_job
from batchgrad.user_machine import built_in, demo
from tests.service.planned import planned

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_digits_is_the_job_of_the_demo() -> None:
    spec = JobSpec.model_validate(load_job(EXAMPLES / "digits.yaml"))
    assert spec == JobSpec.model_validate(demo.spec(workers=2, threads=None, epochs=30))


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_nothing_is_to_be_warned_of(tmp_path: Path, example: Path) -> None:
    spec = load_job(example)
    arrays = built_in.load(spec.dataset)
    assert planned(tmp_path, *arrays, **spec.model_dump(exclude_unset=True)).warnings == []


def test_measurements_of_different_units_are_to_be_standardized(tmp_path: Path) -> None:
    spec = load_job(EXAMPLES / "logistic-regression.yaml", ["standardize=false"])
    arrays = built_in.load(spec.dataset)
    [warning] = planned(tmp_path, *arrays, **spec.model_dump(exclude_unset=True)).warnings
    assert "column 23 ranges from 185.2 to 4254, column 19 from 0.0008948 to 0.02984" in warning
