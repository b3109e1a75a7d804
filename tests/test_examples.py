"""What stands in examples/ works as it stands."""

from pathlib import Path

from batchgrad import demo
from batchgrad.contract import JobSpec
from batchgrad.specs import load_job

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_digits_is_the_job_of_the_demo() -> None:
    spec = JobSpec.model_validate(load_job(EXAMPLES / "digits.yaml"))
    assert spec == JobSpec.model_validate(demo.spec(workers=2, threads=None, epochs=30))
