"""`batchgrad compare` against a scripted service: requests, notes and output."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from batchgrad import Client
from batchgrad.cli.app import app
from batchgrad.contract import JobSpec
from batchgrad.errors import InvalidSpec, JobCancelled, JobFailed
from batchgrad.user_machine import built_in
from batchgrad.user_machine import compare as comparing

Outcome = dict[str, Any]
SUCCESS: Outcome = {"status": "succeeded", "reason": None, "step": 4}
DIVERGED: Outcome = {"status": "failed", "reason": "nonfinite", "step": 3}


class Service:
    """A scripted service: jobs end at once, each update has its result, an epoch has two steps."""

    def __init__(self, kit: Any, *, weighted: bool = False, datasets: tuple[str, ...] = ()) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.submitted: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.stored: list[str] = []
        self.datasets = set(datasets)
        self.weights: list[float | None] = [1.0] * 4
        self._kit = kit
        self._shortcuts = ["averaged_error", "mean_example", *["mean_of_means"] * weighted]

    def client(self) -> Client:
        return Client("http://service", transport=httpx2.MockTransport(self), sleep=lambda _: None)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        parts = request.url.path.split("/")[2:]
        if parts[0] == "datasets":
            return self._dataset(request.method, parts[1])
        if request.method == "POST":
            return self._submit(request)
        number = int(parts[1].removeprefix("job_"))
        if request.method == "DELETE":
            self.deleted.append(parts[1])
            return httpx2.Response(204)
        if parts[2:] == ["steps"]:
            return self._steps(request, self.submitted[number])
        return self._kit.answer(200, self._job(number))

    def _dataset(self, method: str, name: str) -> httpx2.Response:
        if method == "PUT":
            self.stored.append(name)
            self.datasets.add(name)
        elif name not in self.datasets:
            return self._kit.problem(404, "not_found", f"no dataset {name}")
        shape = {"input_shape": [2], "input_dtype": "float32", "target_kind": "values"}
        counts = {"examples": 2, "classes": None, "weighted": False, "bytes": 3}
        named = {"name": name, "digest": "sha256:0", "created_at": self._kit.TIME}
        return self._kit.answer(200, named | shape | counts)

    def _submit(self, request: httpx2.Request) -> httpx2.Response:
        spec = json.loads(request.content)
        if request.url.path != "/v1/plans":
            self.submitted.append(spec)
            return self._kit.answer(201, self._job(len(self.submitted) - 1))
        sizes = {"training_examples": 10, "validation_examples": 2, "parameters": 3, "layers": []}
        steps = {"steps_planned": 4, "steps_per_epoch": 2, "microbatches_per_step": 2}
        rest = {"microbatch_size": 7, "gradient_bytes": 12, "memory_bytes": 100, "warnings": []}
        named = {"dataset_digest": "sha256:0", "shortcuts": self._shortcuts}
        return self._kit.answer(200, named | sizes | steps | rest)

    def _job(self, number: int) -> dict[str, Any]:
        spec = self.submitted[number]
        outcome = SUCCESS if "initial_parameters" in spec else self._outcome(spec)
        job: dict[str, Any] = self._kit.job(id=f"job_{number}", name=spec["name"], **outcome)
        return job

    def _outcome(self, spec: dict[str, Any]) -> Outcome:
        return self.outcomes.get(spec["update"], SUCCESS)

    def _steps(self, request: httpx2.Request, spec: dict[str, Any]) -> httpx2.Response:
        losses = [8.0, 4.0, 2.0, 1.0][: self._outcome(spec)["step"]]
        if "initial_parameters" in spec:
            losses = [0.5]
        after = int(request.url.params.get("after", 0))
        rows = [
            self._kit.STEP
            | {"step": step, "epoch": (step + 1) // 2, "loss": loss, "weight": weight}
            for step, (loss, weight) in enumerate(zip(losses, self.weights, strict=False), 1)
            if step > after
        ]
        return self._kit.answer(200, {"data": rows, "next": None})


def job_spec(kit: Any, **changes: Any) -> JobSpec:
    return JobSpec.model_validate({**kit.SPEC, **changes})


def variants_of(service: Service, spec: JobSpec, *selected: Any) -> dict[str, comparing.Variant]:
    with service.client() as client:
        return {
            variant.name: variant
            for variant in comparing.compare(client, spec, selected, run="run")
        }


@pytest.fixture
def run() -> Callable[..., Result]:
    def run(service: Service, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["compare", *arguments], obj=service.client)

    return run


def test_variants_differ_in_nothing_but_the_update(kit: Any) -> None:
    service = Service(kit)
    given = job_spec(kit, update="mean_example", labels={"mine": "yes"})
    assert list(variants_of(service, given)) == ["mean_gradient", "averaged_error", "mean_example"]
    trained = [sent for sent in service.submitted if "initial_parameters" not in sent]
    for sent, name in zip(
        trained, ["mean_gradient", "averaged_error", "mean_example"], strict=True
    ):
        labels = {"mine": "yes", "compare": "run", "variant": name}
        changes = {"update": name, "name": f"digits.{name}", "labels": labels}
        assert sent == {**kit.SPEC, **changes}


def test_mean_of_means_is_an_variant_where_weights_differ_or_on_request(kit: Any) -> None:
    assert list(variants_of(Service(kit, weighted=True), job_spec(kit)))[-1] == "mean_of_means"
    selected = variants_of(Service(kit), job_spec(kit), "mean_of_means")
    assert list(selected) == ["mean_gradient", "mean_of_means"]


def test_losses_are_the_last_epochs_and_the_trained_models(kit: Any) -> None:
    """For losses 8, 4 | 2, 1 the last epoch's mean is 1.5; another job measures all examples."""
    service = Service(kit)
    variant = variants_of(service, job_spec(kit))["mean_gradient"]
    assert (variant.last_epoch_loss, variant.training_loss) == (1.5, 0.5)
    assert variant.curve == [(1, 8.0, 1.0), (2, 4.0, 1.0), (3, 2.0, 1.0), (4, 1.0, 1.0)]
    probe = service.submitted[1]
    JobSpec.model_validate(probe)
    assert probe["initial_parameters"] == {"job": "job_0"}
    assert (probe["batch_size"], probe["microbatch_size"], probe["steps"]) == ("full", 7, 1)
    assert service.deleted == ["job_1", "job_3", "job_5"]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([9.0, 9.0, 64.0, 1.0], 129 / 65),  # a short last minibatch: its example is one of 65
        ([1.0, 1.0, 3.0, 0.0], 2.0),
        ([1.0, 1.0, 1e-300, 3e-300], 1.25),
        ([1.0, 1.0, 1e308, 1e308], 1.5),
        ([None, None, None, None], 1.5),  # of a service that does not say weights yet
    ],
)
def test_the_last_epoch_s_loss_is_a_mean_over_examples(
    kit: Any, weights: list[float | None], expected: float
) -> None:
    service = Service(kit)
    service.weights = weights
    assert variants_of(service, job_spec(kit))["mean_gradient"].last_epoch_loss == pytest.approx(
        expected
    )


def test_figures_are_those_of_the_parameters_that_are_kept(kit: Any) -> None:
    service = Service(kit)
    service.outcomes["mean_gradient"] = SUCCESS | {"best": kit.BEST}
    variant = variants_of(service, job_spec(kit, keep="best", validation_fraction=0.5))[
        "mean_gradient"
    ]
    assert (variant.validation_loss, variant.validation_accuracy) == (0.125, 0.75)
    assert service.submitted[1]["keep"] == "last"


def test_the_warnings_of_a_job_are_printed_once(kit: Any, run: Any, spec_file: str) -> None:
    service = Service(kit, datasets=("digits",))
    service.outcomes["mean_gradient"] = SUCCESS | {"warnings": ["Classes start at 0."]}
    assert run(service, spec_file).stderr.count("warning: Classes start at 0.\n") == 1


def test_shortcut_that_diverges_is_a_result(kit: Any, run: Any, spec_file: str) -> None:
    service = Service(kit, datasets=("digits",))
    service.outcomes["mean_example"] = DIVERGED
    done = run(service, spec_file, "--output", "json")
    assert done.exit_code == 0
    variants = json.loads(done.stdout.splitlines()[-1])["variants"]
    assert set(variants) == {"mean_gradient", "averaged_error", "mean_example"}
    figures = {key: variants["mean_gradient"][key] for key in ("last_epoch_loss", "training_loss")}
    assert figures == {"last_epoch_loss": 1.5, "training_loss": 0.5}
    assert variants["mean_gradient"]["validation_accuracy"] == 0.975
    assert variants["mean_example"]["status"] == "failed"
    for key in ("last_epoch_loss", "training_loss", "validation_loss", "validation_accuracy"):
        assert variants["mean_example"][key] is None
    assert "mean_example diverged at step 3." in done.stderr


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ({"status": "failed", "reason": "no_workers", "step": 2}, JobFailed),
        ({"status": "cancelled", "reason": None, "step": 2}, JobCancelled),
    ],
)
def test_any_other_end_of_an_variant_is_an_error(kit: Any, outcome: Outcome, error: Any) -> None:
    service = Service(kit)
    service.outcomes["averaged_error"] = outcome
    with pytest.raises(error):
        variants_of(service, job_spec(kit))


def test_built_in_data_are_stored_where_they_are_missing(kit: Any) -> None:
    notes: list[str] = []
    service = Service(kit)
    with service.client() as client:
        for _ in range(2):
            built_in.store_if_missing(client, "diabetes", notes.append)
    assert service.stored == ["diabetes"]
    assert len(notes) == 1


def test_other_data_must_be_there(kit: Any) -> None:
    with (
        Service(kit).client() as client,
        pytest.raises(InvalidSpec, match=r"no dataset 'mine'.*datasets push mine"),
    ):
        built_in.store_if_missing(client, "mine", lambda _: None)


def test_the_table_and_the_plot_go_to_stdout(kit: Any, run: Any, spec_file: str) -> None:
    service = Service(kit, datasets=("digits",))
    service.outcomes["averaged_error"] = DIVERGED
    done = run(service, spec_file, "--shortcut", "averaged_error")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    [exact] = [line for line in lines if line.startswith(" mean_gradient")]
    assert exact.split() == ["mean_gradient", "4", "0.5", "1", "1.5", "0.5", "97.50%", "job_0"]
    [wrong] = [line for line in lines if line.startswith(" averaged_error")]
    assert wrong.split() == ["averaged_error", "3", "diverged", "–", "–", "–", "–", "job_2"]
    assert "(step)" in done.stdout
    assert "Legend" in done.stdout


def test_plot_is_checked_before_anything_is_trained(
    kit: Any, run: Any, spec_file: str, tmp_path: Path
) -> None:
    service = Service(kit, datasets=("digits",))
    for name, message in (
        ("losses.xyz", "expected .png"),
        ("nowhere/losses.png", "create it first"),
    ):
        done = run(service, spec_file, "--plot", str(tmp_path / name))
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.replace("│", " ").split())
    assert service.submitted == []
    done = run(service, spec_file, "--plot", str(tmp_path / "losses.png"))
    assert done.exit_code == 0
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["median", "mean_gradient"])
def test_unknown_shortcut_is_a_usage_error(kit: Any, run: Any, spec_file: str, name: str) -> None:
    done = run(Service(kit), spec_file, "--shortcut", name)
    assert done.exit_code == 2
    assert f"{name}: expected some of averaged_error" in done.stderr


def test_ctrl_c_detaches_from_a_service_that_lasts(kit: Any, run: Any, spec_file: str) -> None:
    class Interrupted(Service):
        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.path.endswith("/steps"):
                raise KeyboardInterrupt
            return super().__call__(request)

    done = run(Interrupted(kit, datasets=("digits",)), spec_file)
    assert done.exit_code == 101
    assert "Stopped following; job job_0 goes on" in done.stderr
    assert "no job was submitted" not in done.stderr


@pytest.mark.parametrize("place", ["/v1/datasets/digits", "/v1/jobs"])
def test_ctrl_c_before_the_first_job_says_so(
    kit: Any, run: Any, spec_file: str, place: str
) -> None:
    class Interrupted(Service):
        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.path == place:
                raise KeyboardInterrupt
            return super().__call__(request)

    service = Interrupted(kit, datasets=("digits",))
    done = run(service, spec_file)
    assert (done.exit_code, service.submitted) == (130, [])
    assert done.stderr.endswith("Interrupted; no job was submitted.\n")


def test_a_comparison_ends_after_the_time(kit: Any, run: Any, spec_file: str) -> None:
    service = Service(kit, datasets=("digits",))
    service.outcomes["mean_gradient"] = {"status": "running", "reason": None, "step": 1}
    done = run(service, spec_file, "--timeout", "0")
    assert (done.exit_code, len(service.submitted)) == (101, 1)
    assert "Job job_0 is running after 0 s" in done.stderr
