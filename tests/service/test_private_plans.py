"""Plans of private jobs: their noise, steps and ε, and what is refused with its place."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import JobSpec, Plan, Privacy
from batchgrad_engine.privacy.accountant.answering import answer
from batchgrad_engine.privacy.accountant.messages import Answer, Request
from batchgrad_service.privacy.accountant_process import AccountantProcess
from batchgrad_service.privacy.planning import Accounting
from batchgrad_service.privacy.rules import check_data
from batchgrad_service.problems import InvalidError, UnavailableError
from batchgrad_service.shutdown import Shutdown
from batchgrad_service.validation.job_data import JobData
from batchgrad_workers.data.split import Split
from batchgrad_workers.privacy.sampling import PoissonSampler
from tests.service.building import body, problem, push
from tests.service.conftest import Bench
from tests.service.private_plans import PRIVACY, ROWS, private_plan, private_spec, stored
from tests.workers.tables.table_rows import table_of


def refused(data: Any, wanted: JobSpec) -> tuple[str, str]:
    """Where a private job is refused, and why."""
    with pytest.raises(InvalidError) as caught:
        private_plan(data, wanted)
    (error,) = caught.value.errors
    return error.pointer, error.detail


def test_a_plan_has_noise_rate_steps_and_epsilon(tmp_path: Path) -> None:
    plan, accounted = private_plan(stored(tmp_path), private_spec())
    found = plan.privacy
    assert found is not None
    assert (found.noise_multiplier, found.sampling_rate, found.steps) == (1.5, 0.05, 40)
    assert (found.delta, found.accountant, found.unsafe) == (1e-5, "rdp", False)
    assert found.epsilon == accounted.epsilon == accounted.schedule.at(40)
    assert plan.steps_planned == accounted.steps == 40


def test_steps_are_cut_to_the_budget_and_the_plan_warns(tmp_path: Path) -> None:
    wanted = private_spec({"epsilon": 1.5}, steps=None, epochs=100)
    plan, accounted = private_plan(stored(tmp_path), wanted)
    assert 0 < plan.steps_planned == accounted.steps < 2000
    assert accounted.epsilon <= 1.5
    assert plan.warnings[0].startswith(f"epsilon 1.5 allows {accounted.steps} of 2000 steps with")


@pytest.mark.parametrize("microbatch", [1, 7, 20])
def test_microbatches_are_no_steps(tmp_path: Path, microbatch: int) -> None:
    """Epsilon counts the optimizer's steps; a plan's microbatches are those of the sampler."""
    plan, accounted = private_plan(stored(tmp_path), private_spec(microbatch_size=microbatch))
    whole = answer(
        Request(privacy=PRIVACY, batch_size=20, training_rows=ROWS, steps=40, steps_per_epoch=20)
    )
    assert whole.accounted is not None
    assert accounted.epsilon == whole.accounted.epsilon
    split = Split(np.arange(ROWS), np.arange(0))
    sampler = PoissonSampler(split, seed=0, batch_size=20, key=bytes(32))
    assert plan.microbatches_per_step == sampler.microbatches(microbatch)
    assert sampler.draw(0, microbatch).microbatches == sampler.microbatches(microbatch)


def test_held_out_rows_are_no_training_rows(tmp_path: Path) -> None:
    held_out = {"validation_fraction": 0.5}
    plan, accounted = private_plan(
        stored(tmp_path), private_spec({"validation": "noisy"}, **held_out)
    )
    assert plan.privacy is not None
    assert plan.privacy.sampling_rate == 0.1
    assert accounted.validation_multiplier is not None


@pytest.mark.parametrize(
    ("privacy", "changes", "pointer", "text"),
    [
        (
            {"delta": 1 / ROWS},
            {},
            "/privacy/delta",
            "delta is 0.0025, and must stay below 1/n = 0.0025 for the 400 training examples",
        ),
        (
            {},
            {"optimizer": {"kind": "sgd", "learning_rate": 0.1, "clip_norm": 2.0}},
            "/optimizer/clip_norm",
            "privacy.clip_norm clips examples: remove it.",
        ),
        (
            {"validation": "public"},
            {"validation": {"fraction": 0.25, "stratify": True}},
            "/validation/stratify",
            "stratify reads the private rows' classes",
        ),
        (
            {"validation": "noisy"},
            {
                "validation_fraction": 0.25,
                "early_stopping": {"metric": "validation_loss"},
            },
            "/early_stopping/metric",
            "noisy validation has no validation_loss: set metric to validation_accuracy.",
        ),
        ({"unit": "units"}, {}, "/privacy/unit", "the dataset has no units: push it with --units"),
        (
            {"epsilon": 1e-6},
            {},
            "/privacy/epsilon",
            "epsilon is 1e-06, but one step with noise_multiplier 1.5 spends",
        ),
    ],
)
def test_refusals_say_where_and_what_to_do(
    tmp_path: Path, privacy: dict[str, Any], changes: dict[str, Any], pointer: str, text: str
) -> None:
    where, detail = refused(stored(tmp_path), private_spec(privacy, **changes))
    assert where == pointer
    assert text in detail


@pytest.mark.parametrize("by", ["class", "row", "row held out"])
def test_rows_of_weight_0_are_refused(tmp_path: Path, by: str) -> None:
    """The plan shows how many others there are, and so how many rows there are of a class."""
    weights = np.ones(ROWS)
    weights[7] = by == "class"
    weighted = stored(tmp_path, weights=weights)
    data, changes, pointer = weighted, dict[str, Any](), "/dataset"
    if by == "class":
        changes, pointer = {"class_weights": {"1": 0, "0": 2}}, "/class_weights"
    if by == "row held out":
        folder = tmp_path / "trained on"
        folder.mkdir()
        data = replace(stored(folder, weights=np.ones(ROWS)), validation=weighted)
        changes, pointer = {"validation": {"dataset": "e"}}, "/validation/dataset"
    with pytest.raises(InvalidError) as caught:
        check_data(private_spec({"validation": "public"}, **changes), data)
    (error,) = caught.value.errors
    assert error.pointer == pointer
    assert "which would be left out" in error.detail or "rows would be left out" in error.detail


@pytest.mark.parametrize("validation", ["public", "noisy"])
def test_no_row_is_trained_on_and_validated_on(tmp_path: Path, validation: str) -> None:
    data = stored(tmp_path)
    wanted = private_spec({"validation": validation}, validation={"dataset": "copy"})
    with pytest.raises(InvalidError) as caught:
        check_data(wanted, replace(data, validation=data))
    (error,) = caught.value.errors
    assert error.pointer == "/validation/dataset"
    assert "has the rows that the job trains on" in error.detail


def test_noisy_validation_needs_right_answers(tmp_path: Path) -> None:
    data = stored(tmp_path, targets=np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2))
    wanted = private_spec({"validation": "noisy"}, validation_fraction=0.25, loss="squared_error")
    pointer, detail = refused(data, wanted)
    assert pointer == "/privacy/validation"
    assert "an accuracy, which squared_error does not have" in detail


def test_delta_is_below_one_in_the_units(tmp_path: Path) -> None:
    """There are at most as many units as rows, but all rows of a dataset may be held out."""
    data = stored(tmp_path, units=np.arange(ROWS))
    wanted = private_spec(
        {"unit": "units", "validation": "public", "delta": 1 / 300}, validation_fraction=0.5
    )
    assert refused(data, wanted)[0] == "/privacy/delta"
    fine = private_spec({"unit": "units"})
    assert private_plan(data, fine)[0].privacy is not None


def test_what_noisy_validation_keeps() -> None:
    noisy = {"validation": "noisy"}
    held_out = {"validation_fraction": 0.25}
    assert private_spec(noisy, **held_out).best_by is None
    assert private_spec(noisy, **held_out, keep="best").best_by == "validation_accuracy"
    assert private_spec(noisy, **held_out, keep="last").best_by is None
    public = private_spec({"validation": "public"}, **held_out)
    assert public.best_by == "validation_loss"


def test_a_standardization_that_is_kept_reads_no_rows() -> None:
    start = {"job": "j", "standardization": "keep"}
    assert private_spec(standardize=True, initial_parameters=start).standardize
    for other in (None, {"job": "j"}):
        with pytest.raises(ValueError, match="read off the private rows"):
            private_spec(standardize=True, initial_parameters=other)


def test_tables_are_refused_unless_their_encoding_is_kept(tmp_path: Path) -> None:
    data = stored(tmp_path)
    columns = [{"name": name, "kind": "number", "lowest": 0, "highest": 3} for name in "abc"]
    table = JobData(data.dataset.model_copy(update={"table": table_of(columns)}), tmp_path)
    with pytest.raises(InvalidError) as caught:
        check_data(private_spec(), table)
    (error,) = caught.value.errors
    assert error.pointer == "/dataset"
    assert "is a table, whose encoding would be read off the private rows" in error.detail
    start = {"job": "j", "standardization": "keep"}
    check_data(private_spec(standardize=True, initial_parameters=start), table)
    module = {"model": {"torch": "package:build"}, "loss": None}
    check_data(private_spec(**module), table)  # it takes columns as they are stored


def test_answers_are_remembered(tmp_path: Path) -> None:
    asked: list[Request] = []

    def counting(request: Request) -> Answer:
        asked.append(request)
        return answer(request)

    accounting, data = Accounting(counting), stored(tmp_path)
    first = private_plan(data, private_spec(), accounting)
    same = private_spec({"clip_norm": 3.0, "clipping": "quantile"}, microbatch_size=3, seed=4)
    assert private_plan(data, same, accounting)[1] == first[1]
    assert len(asked) == 1
    private_plan(data, private_spec(steps=41), accounting)
    assert len(asked) == 2


def test_over_http_a_process_accounts(bench: Bench) -> None:
    push(bench.http)
    privacy = {"delta": 0.01, "epsilon": 3.0, "clip_norm": 1.0, "accountant": "rdp"}
    private = {"privacy": privacy, "nonfinite": "drop", "shortcuts": [], "batch_size": 5}
    answered = bench.http.post("/v1/plans", json=body(**private))
    assert answered.status_code == 200, answered.text
    found = Plan.model_validate(answered.json()).privacy
    assert found is not None
    assert found.epsilon is not None
    assert 2.5 < found.epsilon <= 3.0
    private["privacy"] = privacy | {"delta": 0.2}
    errors = problem(bench.http.post("/v1/plans", json=body(**private)), 422)["errors"]
    assert [each["pointer"] for each in errors] == ["/privacy/delta"]


ONE = Request(privacy=PRIVACY, batch_size=1, training_rows=2, steps=1, steps_per_epoch=1)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("sleep", "60"), "needed more than 0.2 s for 1 step and was ended: train for fewer"),
        (("false",), "ended with code 1"),
        (("true",), "without an answer"),
    ],
)
def test_an_accountant_that_fails_is_named(command: tuple[str, ...], text: str) -> None:
    seconds = 0.2 if command[0] == "sleep" else 20
    process = AccountantProcess(Shutdown().subscribe, seconds=seconds, command=command)
    with pytest.raises(InvalidError, match=re.escape(text)) as caught:
        process.run(ONE)
    assert caught.value.errors[0].pointer == "/privacy"


@pytest.mark.parametrize(
    ("privacy", "text"),
    [
        (
            {"epsilon": 2.0},
            "use accountant: rdp, or give noise_multiplier instead of epsilon, or train for fewer",
        ),
        ({"epsilon": 2.0, "adjacency": "replace"}, "give noise_multiplier instead of epsilon, or"),
        ({"noise_multiplier": 2.0}, "ended: use accountant: rdp, or train for fewer steps."),
    ],
)
def test_what_makes_an_accountant_quicker_is_not_in_the_spec_yet(
    privacy: dict[str, Any], text: str
) -> None:
    process = AccountantProcess(Shutdown().subscribe, seconds=0.1, command=("sleep", "60"))
    wanted = Privacy(**privacy, delta=1e-5, clip_norm=1.0)
    with pytest.raises(InvalidError, match=re.escape(text)) as caught:
        process.run(ONE.model_copy(update={"privacy": wanted}))
    assert ("rdp" in str(caught.value.errors[0].detail)) == ("rdp" in text)


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_without_dp_accounting_a_plan_says_what_to_install(
    accountant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    where, why = refused(stored(tmp_path), private_spec({"accountant": accountant}))
    assert where == "/privacy"
    assert f"`{sys.executable} -m pip install 'dp-accounting" in why


def test_a_stopping_service_ends_its_accountants() -> None:
    shutdown = Shutdown()
    shutdown.begin()
    process = AccountantProcess(shutdown.subscribe, command=("sleep", "60"))
    with pytest.raises(UnavailableError, match="The service is stopping"):
        process.run(ONE)
