"""`batchgrad sweep` against a scripted service: progress, table, exit codes."""

import json
import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from typer.testing import Result

from batchgrad import Client, Job
from batchgrad.display.tables.sweep import best_first
from tests.clients.test_sweeps import RATE, plan_of

Run = Callable[..., Result]
OVER = ["--over", f"{RATE}=0.5,0.25,0.125", "--name", "s"]


class Service:
    """Jobs end when they are read again; a job's loss is its learning rate."""

    def __init__(self, kit: Any, *statuses: str, validation: bool = True) -> None:
        self._kit = kit
        self._statuses = statuses
        self._validation = validation
        self.specs: list[dict[str, Any]] = []

    def client(self) -> Client:
        return Client("http://service", transport=httpx2.MockTransport(self), sleep=lambda _: None)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path.startswith("/v1/datasets"):
            return self._kit.answer(200, self._kit.DATASET)
        if path == "/v1/plans":
            return plan_of(request)
        if request.method == "POST":
            self.specs.append(json.loads(request.content))
            return self._kit.answer(201, self._job(len(self.specs) - 1, "queued"))
        number = int(path.rpartition("_")[2])
        return self._kit.answer(200, self._job(number, self._statuses[number]))

    def _job(self, number: int, status: str) -> dict[str, Any]:
        spec = self.specs[number]
        rate = spec["optimizer"]["learning_rate"]
        validation: dict[str, float | None] = {"validation_loss": rate}
        if not self._validation:
            validation = {"validation_loss": None, "validation_accuracy": None}
        named = {"id": f"job_{number}", "spec": spec, "labels": spec["labels"], "name": "x"}
        job: dict[str, Any] = self._kit.job(status=status, loss=rate / 2, **validation, **named)
        return job


def ids(text: str) -> list[str]:
    return re.findall(r"job_\d", text)


def test_the_table_is_sorted_by_the_validation_figure(kit: Any, run: Run, spec_file: str) -> None:
    service = Service(kit, *["succeeded"] * 3)
    done = run(service, "sweep", spec_file, *OVER)
    assert done.exit_code == 0, done.output
    assert ids(done.stdout) == ["job_2", "job_1", "job_0"]
    assert RATE in done.stdout
    assert "sweep=s" in done.stderr
    assert "3 of 3 ended: job_2  optimizer.learning_rate 0.125  succeeded" in done.stderr
    assert [spec["labels"] for spec in service.specs] == [{"sweep": "s"}] * 3
    data = run(Service(kit, *["succeeded"] * 3), "sweep", spec_file, *OVER, "-o", "json")
    result = json.loads(data.stdout)
    assert (result["sweep"], result["sorted_by"]) == ("s", "validation_loss")
    assert [job[RATE] for job in result["jobs"]] == [0.125, 0.25, 0.5]


@pytest.mark.parametrize(
    ("statuses", "code", "order"),
    [
        (["succeeded", "failed", "succeeded"], 100, ["job_2", "job_0", "job_1"]),
        (["cancelled", "succeeded", "succeeded"], 103, ["job_2", "job_1", "job_0"]),
        (["cancelled", "failed", "succeeded"], 100, ["job_2", "job_1", "job_0"]),
    ],
)
def test_the_exit_code_says_whether_all_succeeded(
    kit: Any, run: Run, spec_file: str, statuses: list[str], code: int, order: list[str]
) -> None:
    done = run(Service(kit, *statuses), "sweep", spec_file, *OVER)
    assert done.exit_code == code
    assert ids(done.stdout) == order


def test_without_validation_the_loss_decides(kit: Any, run: Run, spec_file: str) -> None:
    service = Service(kit, *["succeeded"] * 3, validation=False)
    done = run(service, "sweep", spec_file, *OVER, "-o", "json")
    assert json.loads(done.stdout)["sorted_by"] == "loss"


@pytest.mark.parametrize(
    ("accuracy", "text"),
    [
        (0.75, "Sorted by validation accuracy, the best first."),
        (None, "No job shows a loss, so none is the best.\nPrivate jobs show one with"),
    ],
)
def test_private_jobs_may_have_an_accuracy_alone_or_nothing_to_sort_by(
    kit: Any, run: Run, spec_file: str, accuracy: float | None, text: str
) -> None:
    planned = {"noise_multiplier": 1.0, "sampling_rate": 0.1, "steps": 2, "accountant": "pld"}
    private = {**planned, "epsilon": 1.0, "epsilon_spent": 1.0, "delta": 1e-5}
    figures = {"loss": None, "validation_loss": None, "validation_accuracy": accuracy}

    class Private(Service):
        def _job(self, number: int, status: str) -> dict[str, Any]:
            return {**super()._job(number, status), **figures, "privacy": private}

    done = run(Private(kit, *["succeeded"] * 3), "sweep", spec_file, *OVER)
    assert text in done.stderr
    assert ("Next: batchgrad download" in done.stderr) == (accuracy is not None)


def test_the_figure_by_which_jobs_keep_their_best_decides(kit: Any) -> None:
    stopping = {"early_stopping": {"metric": "validation_accuracy"}, "validation_fraction": 0.1}
    jobs = [
        Job.model_validate(
            kit.job(
                id=str(number),
                status="succeeded",
                spec={**kit.SPEC, **stopping},
                best={**kit.BEST, "validation_accuracy": accuracy},
            )
        )
        for number, accuracy in enumerate([0.5, 0.75])
    ]
    figure, rows = best_first(jobs, ["seed"])
    assert figure == "validation_accuracy"
    assert [(row["id"], row["validation_accuracy"]) for row in rows] == [("1", 0.75), ("0", 0.5)]


def test_following_stops_after_the_time_and_by_ctrl_c(
    kit: Any, run: Run, private: Any, spec_file: str
) -> None:
    waiting = ["succeeded", "running", "queued"]
    done = run(Service(kit, *waiting), "sweep", spec_file, *OVER, "--timeout", "0")
    assert done.exit_code == 101
    assert "Job job_1 is running after 0 s" in done.stderr
    assert "batchgrad list --label sweep=s" in done.stderr
    assert ids(done.stdout)[0] == "job_0"  # the table so far

    class Interrupted(Service):
        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            if request.method == "GET" and request.url.path.endswith("job_1"):
                raise KeyboardInterrupt
            return super().__call__(request)

    done = run(Interrupted(kit, *waiting), "sweep", spec_file, *OVER)
    assert done.exit_code == 101
    assert "The jobs that have not ended go on" in done.stderr
    seen = private(Interrupted(kit, *waiting))
    done = run(Service(kit), "sweep", spec_file, *OVER, "--private")
    assert (done.exit_code, seen) == (103, ["started", "gone"])
    assert "The private service is gone" in done.stderr
    assert "go on" not in done.stderr


def test_nothing_is_sent_for_a_dry_run_or_a_wrong_value(kit: Any, run: Run, spec_file: str) -> None:
    service = Service(kit)
    shown = run(service, "sweep", spec_file, *OVER, "--over", "seed=1,2", "--dry-run")
    assert shown.exit_code == 0
    assert len(re.findall(r"^ 0\.\d+ +[12] *$", shown.stdout, re.MULTILINE)) == 6
    samples = ["--over", f"{RATE}=log:0.01..1", "--samples", "4", "--dry-run", "-o", "json"]
    drawn = json.loads(run(service, "sweep", spec_file, *samples).stdout)["jobs"]
    assert len({one[RATE] for one in drawn}) == 4
    wrong = run(service, "sweep", spec_file, "--over", "optimizer.lerning_rate=1,2")
    assert wrong.exit_code == 2
    assert "did you mean learning_rate? (by --set or --over)" in wrong.stderr
    assert run(service, "sweep", spec_file, "--over", "seed=1..9").exit_code == 2
    assert service.specs == []
