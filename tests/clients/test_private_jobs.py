"""Private jobs on the command line: their figures, and nothing of what is hidden."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from batchgrad.contract import DatasetPrivacy, Event, Job, StepRow
from batchgrad.display.events import sentence
from batchgrad.display.live.job import JobDisplay
from batchgrad.display.privacy import lower, of_dataset, upper
from batchgrad.display.steps import StepTable

PRIVACY: dict[str, Any] = {"delta": 1e-5, "epsilon": 2.0, "clip_norm": 0.5}
PLANNED: dict[str, Any] = {
    "noise_multiplier": 1.288,
    "sampling_rate": 0.0417,
    "epsilon": 1.9876,
    "delta": 1e-5,
    "steps": 18,
    "accountant": "pld",
}
NOTHING = dict.fromkeys(("loss", "noise_scale", "examples_per_second"))
Run = Callable[..., Result]


def private_job(kit: Any, *, unsafe: bool = False, **privacy: Any) -> dict[str, Any]:
    """A private job, as the service tells it."""
    spec = {**kit.SPEC, "privacy": {**PRIVACY, **privacy}}
    told = {**PLANNED, "epsilon_spent": 0.84, "unsafe": unsafe}
    told |= {"epsilon": None, "epsilon_spent": None} if unsafe else {}
    job: dict[str, Any] = kit.job(**NOTHING, shortcuts={}, spec=spec, privacy=told)
    return job


def private_step(kit: Any, **changes: Any) -> StepRow:
    hidden: dict[str, Any] = {"loss": None, "norms": None, "shortcuts": {}, "phases": {}}
    return StepRow.model_validate({**kit.STEP, **hidden, "epsilon": 0.84, **changes})


def test_get_shows_the_budget_and_the_protection(kit: Any, run: Run) -> None:
    done = run(kit.Script(kit.answer(200, private_job(kit))), "get", "job_1")
    text = " ".join(done.stdout.split())
    assert "privacy ε 0.84 of 2 at δ 1e-05" in text
    for figure in ("noise σ 1.288", "sampling rate q 0.0417", "clipping flat, C 0.5"):
        assert figure in text
    assert "protects one example" in text
    assert "accountant pld: privacy loss distributions" in text
    assert "undetermined" not in text  # neither loss nor noise scale: they are never told


def test_without_a_budget_the_planned_epsilon_stands_in_its_place(kit: Any, run: Run) -> None:
    job = private_job(kit, epsilon=None, noise_multiplier=1.288)
    assert "ε 0.84 of 1.988 at δ" in run(kit.Script(kit.answer(200, job)), "get", "job_1").stdout


def test_an_unsafe_job_is_loudly_so(kit: Any, run: Run) -> None:
    done = run(kit.Script(kit.answer(200, private_job(kit, unsafe=True))), "get", "job_1")
    assert "UNSAFE: this service has a fixed key" in done.stdout
    assert "0.84" not in done.stdout


def test_a_plan_shows_noise_and_epsilon_before_anything_runs(
    kit: Any, run: Run, spec_file: str
) -> None:
    counts = ["training_examples", "validation_examples", "parameters", "steps_planned"]
    counts += ["steps_per_epoch", "microbatches_per_step", "microbatch_size", "gradient_bytes"]
    plan: dict[str, Any] = {
        "dataset_digest": "sha256:0",
        "memory_bytes": 1,
        **dict.fromkeys(counts, 2),
    }
    plan |= {"layers": [], "shortcuts": [], "warnings": [], "privacy": PLANNED}
    given = [f"--set=privacy.{key}={value!r}" for key, value in PRIVACY.items()]
    done = run(kit.Script(kit.answer(200, plan)), "submit", spec_file, "--dry-run", *given)
    text = " ".join(done.stdout.split())
    assert "privacy ε 1.988 at δ 1e-05 after 18 steps, the budget is 2" in text
    assert "noise σ 1.288" in text


def test_a_list_has_a_column_if_a_job_is_private(kit: Any, run: Run) -> None:
    public = run(kit.Script(kit.page(kit.job())), "list")
    mixed = run(kit.Script(kit.page(kit.job(), private_job(kit))), "list")
    assert "ε spent" not in public.stdout
    assert "ε spent" in mixed.stdout
    assert "0.84" in mixed.stdout


def test_datasets_show_the_total_of_private_jobs(kit: Any, run: Run) -> None:
    told = {"jobs": 3, "epsilon": 2.5, "delta": 3e-5, "budget": 8.0}
    private = {**kit.DATASET, "privacy": told}
    for command in (["datasets", "show", "digits"], ["datasets", "list"]):
        answer = kit.page(private) if "list" in command else kit.answer(200, private)
        text = " ".join(run(kit.Script(answer), *command).stdout.split())
        assert "ε 2.5 of 8 at δ 3e-05, in 3 jobs" in text
    plain = run(kit.Script(kit.page(kit.DATASET)), "datasets", "list").stdout
    assert "private" not in plain


def test_the_live_display_shows_the_budget(kit: Any) -> None:
    lines = io.StringIO()
    with JobDisplay(lines, lines_every_epochs=1) as display:
        display.update(Job.model_validate(private_job(kit)))
    assert "privacy ε 0.84 of 2 at δ 1e-05" in lines.getvalue()
    assert "loss" not in lines.getvalue().replace("validation loss", "")


def test_steps_show_epsilon_and_no_figure_that_is_hidden(kit: Any) -> None:
    row = private_step(kit)
    table = StepTable(row)
    assert table.heading().split("  ")[-1].strip() == "epsilon"
    assert "loss" not in table.heading()
    assert "noise scale" not in table.heading()
    assert table.line(row).split()[-1] == "0.84"
    reported = StepTable(private_step(kit, loss=0.5))
    assert "loss" in reported.heading()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"loss": None, "epsilon": 0.5}, "step 1/9, epoch 1: ε 0.5 spent"),
        ({"loss": 0.25, "epsilon": None}, "step 1/9, epoch 1: loss 0.25"),
        ({"loss": None}, "step 1/9, epoch 1"),
    ],
)
def test_progress_is_a_sentence_without_speed(
    kit: Any, data: dict[str, Any], expected: str
) -> None:
    at = {"step": 1, "steps_planned": 9, "epoch": 1, "shortcuts": {}, "examples_per_second": None}
    event = {"seq": 1, "time": kit.TIME, "type": "progress", "data": {**at, **data}}
    assert sentence(Event.model_validate(event)) == expected


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [
        (0.84, "0.84"),
        (0.840001, "0.8401"),
        (1.99996, "2"),
        (123456.0, "1.235e+05"),
        (1e-5, "1e-05"),
        (0.1 + 0.2, "0.3"),
        (None, "–"),
    ],
)
def test_epsilon_is_rounded_up(epsilon: float | None, text: str) -> None:
    assert upper(epsilon) == text


def test_what_is_left_and_noise_are_rounded_down() -> None:
    assert [lower(value) for value in (0.84, 2.39999, 0.3 - 0.1)] == ["0.84", "2.399", "0.2"]


def test_every_place_rounds_epsilon_and_delta_up(kit: Any, run: Run) -> None:
    job = private_job(kit)
    job["privacy"] |= {"epsilon_spent": 1.00001, "delta": 1.00001e-5, "noise_multiplier": 1.28899}
    answers = kit.answer(200, job), kit.page(job)
    for answer, command in zip(answers, (["get", "job_1"], ["list"]), strict=True):
        assert "1.001" in run(kit.Script(answer), *command).stdout, command
    shown = run(kit.Script(kit.answer(200, job)), "get", "job_1").stdout
    assert "at δ 1.001e-05" in shown
    assert "σ 1.288:" in shown
    row = private_step(kit, epsilon=1.00001)
    assert StepTable(row).line(row).split()[-1] == "1.001"
    at = {"step": 1, "steps_planned": 9, "epoch": 1, "shortcuts": {}, "examples_per_second": None}
    data = {**at, "loss": None, "epsilon": 1.00001}
    event = {"seq": 1, "time": kit.TIME, "type": "progress", "data": data}
    assert "ε 1.001 spent" in sentence(Event.model_validate(event))
    told = {"jobs": 1, "epsilon": 1.00001, "delta": 1.00001e-5, "budget": 2.99999}
    text = of_dataset(DatasetPrivacy.model_validate(told))
    assert text == "ε 1.001 of 2.999 at δ 1.001e-05, in 1 job"
