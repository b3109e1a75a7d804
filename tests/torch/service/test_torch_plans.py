"""Plans and submissions of PyTorch jobs: what a preflight finds, and what is refused."""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from batchgrad.contract import Plan
from batchgrad_engine.preflight.examining import examine
from tests.service.building import body, npz, problem, push
from tests.service.conftest import Bench

MODULE = "tests.torch.service.planned_tasks"


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A service that examines tasks in this process, where torch is loaded already."""
    made = make_bench(torch_modules=MODULE, preflight=examine)
    push(made.http)
    return made


def spec(function: str = "net", **changes: Any) -> dict[str, Any]:
    model = {"torch": f"{MODULE}:{function}", **changes.pop("model", {})}
    return body(**{"model": model, "loss": None, "workers": 0, **changes})


def planned(bench: Bench, *given: Any, **changes: Any) -> Plan:
    answer = bench.http.post("/v1/plans", json=spec(*given, **changes))
    assert answer.status_code == 200, answer.text
    return Plan.model_validate(answer.json())


def refused(bench: Bench, *given: Any, **changes: Any) -> tuple[str, str]:
    found = problem(bench.http.post("/v1/plans", json=spec(*given, **changes)), 422)
    return found["errors"][0]["pointer"], found["errors"][0]["detail"]


def test_a_plan_tells_what_the_module_is(bench: Bench) -> None:
    plan = planned(bench, model={"config": {"width": 5}}, validation_fraction=0.2)
    assert plan.torch is not None
    assert plan.torch.function == f"{MODULE}:net"
    names = [(each.name, each.shape, each.trainable) for each in plan.torch.parameters]
    assert names == [
        ("first.weight", [5, 3], False),
        ("first.bias", [5], False),
        ("head.weight", [2, 5], True),
        ("head.bias", [2], True),
    ]
    layers = [(each.name, each.kind, each.output_shape, each.parameters) for each in plan.layers]
    assert layers == [("head", "Linear", [2], 12)]
    assert (plan.parameters, plan.gradient_bytes) == (12, 48)
    assert (plan.training_examples, plan.validation_examples) == (8, 2)
    assert (plan.steps_planned, plan.microbatches_per_step) == (20, 2)
    assert 2**25 < plan.memory_bytes < 2**33
    assert set(plan.shortcuts) | set(plan.torch.unavailable) == {"averaged_error", "mean_example"}


def test_examples_that_weigh_nothing_are_not_counted(bench: Bench) -> None:
    sizes: dict[str, Any] = {"steps": None, "epochs": 3, "batch_size": 4, "microbatch_size": 2}
    every, some = (planned(bench, name, **sizes) for name in ("net", "of_one_class"))
    present = some.training_examples
    assert 4 <= present < every.training_examples
    assert some.validation_examples == 0
    assert some.steps_per_epoch == -(-present // 4)
    assert some.steps_planned == 3 * some.steps_per_epoch
    assert some.microbatches_per_step == 2


def test_weights_of_the_task_make_another_shortcut(bench: Bench) -> None:
    plan = planned(bench, "without_accuracy")
    assert "mean_of_means" in plan.shortcuts


def test_a_process_of_its_own_answers_whatever_the_code_prints(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(torch_modules=MODULE, torch_path=Path(__file__).parents[3])
    push(bench.http)
    plan = planned(bench, "prints")
    assert plan.parameters == 10
    assert planned(bench, "prints", seed=0) == plan


def test_a_submitted_job_keeps_the_plan(bench: Bench) -> None:
    answer = bench.http.post("/v1/jobs", json=spec())
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert job["spec"]["model"] == {**spec()["model"], "config": {}, "code": None} | {
        "autocast": None,
    }
    page = bench.http.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"})
    events = {event["type"]: event["data"] for event in page.json()["data"]}
    assert events["plan"]["torch"]["function"] == f"{MODULE}:net"


@pytest.mark.parametrize(
    ("function", "detail"),
    [
        ("raises", r"planned_tasks.py, line \d+, in raises: KeyError: 'outputs'$"),
        ("asks_for_tokens", r"'tokens'.* inputs \[8, 3\].* arose in .*tasks\.py, line \d+, in <la"),
        ("mixing", r"Module 1 \(BatchNorm1d\) mixes examples.* Use GroupNorm or LayerNorm"),
        ("module_alone", r"returned tests\S+Net; expected a batchgrad\.torch Task"),
        ("none_such", r"has no function none_such; it defines"),
        ("huge", r"needs more than .* GiB of memory, which this machine does not have"),
    ],
)
def test_wrong_tasks_are_refused(bench: Bench, function: str, detail: str) -> None:
    pointer, found = refused(bench, function)
    assert pointer == "/model/torch"
    assert re.search(detail, found), found


def test_numbers_that_are_not_finite_are_a_warning(bench: Bench) -> None:
    [warning] = planned(bench, "overflowing").warnings
    assert warning.startswith("Loss or gradient is not finite for 1 of the first 5 examples, first")
    assert "first [8]:" in warning


def test_figures_that_the_task_lacks_are_refused(bench: Bench) -> None:
    stopping = {"early_stopping": {"metric": "validation_accuracy"}, "validation_fraction": 0.2}
    assert planned(bench, "net", **stopping).parameters == 10
    pointer, detail = refused(bench, "without_accuracy", **stopping)
    assert pointer == "/early_stopping/metric"
    assert "has no function `correct`" in detail
    stopping["early_stopping"] = {"metric": "validation_r2"}
    pointer, detail = refused(bench, "net", **stopping)
    assert pointer == "/early_stopping/metric"
    assert "compares its outputs with no numbers" in detail


def test_a_validation_dataset_needs_the_same_arrays(bench: Bench) -> None:
    inputs = np.zeros((4, 3), np.float32)
    for name, arrays in {
        "same": {"inputs": inputs, "targets": np.arange(4) % 2},
        "lacks": {"inputs": inputs, "labels": np.arange(4) % 2},
        "flat": {"inputs": inputs[:, None], "targets": np.arange(4) % 2},
    }.items():
        content = npz(**arrays)
        assert bench.http.put(f"/v1/datasets/{name}", content=content).status_code == 201
    assert planned(bench, validation={"dataset": "same"}).validation_examples == 4
    assert refused(bench, validation={"dataset": "lacks"})[1].startswith(
        "Dataset lacks lacks targets; in dataset digits"
    )
    pointer, detail = refused(bench, validation={"dataset": "flat"})
    assert pointer == "/validation/dataset"
    assert "has inputs of shape [4, 1, 3]" in detail


def initial(**tensors: Any) -> dict[str, Any]:
    return {"initial_parameters": {"safetensors": base64.b64encode(save(tensors)).decode()}}


def test_initial_parameters_are_a_part_of_the_modules_state(bench: Bench) -> None:
    head = np.ones((2, 4), np.float32)
    warnings = planned(bench, **initial(**{"head.weight": head, "shift": head[0]})).warnings
    assert [each for each in warnings if "lacks first.weight, first.bias, head.bias" in each]
    for wrong, message in (
        ({"head.weights": head}, "head.weights, which the module lacks; it has"),
        ({"head.weight": head.T.copy()}, r"shape [4, 2]; in the module it has [2, 4]"),
    ):
        pointer, detail = refused(bench, **initial(**wrong))
        assert pointer == "/initial_parameters"
        assert message in detail


def test_initial_parameters_may_be_an_uploaded_file(bench: Bench) -> None:
    content = save({"head.bias": np.ones(2, np.float32)})
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    given = {"initial_parameters": {"digest": digest}}
    pointer, detail = refused(bench, **given)
    assert pointer == "/initial_parameters/digest"
    assert detail.startswith("No stored parameters and no upload have the digest")
    bench.http.post("/v1/uploads", json={"digest": digest, "bytes": len(content)})
    path = f"/v1/uploads/{digest}"
    bench.http.patch(path, content=content, headers={"Upload-Offset": "0"})
    assert any("lacks first.weight" in each for each in planned(bench, **given).warnings)


def test_groups_of_parameters_are_those_of_the_module(bench: Bench) -> None:
    optimizer = {"kind": "sgd", "learning_rate": 0.1}
    right = {**optimizer, "groups": [{"match": "head.*", "learning_rate": 0.2}]}
    assert planned(bench, optimizer=right).parameters == 10
    frozen = {**optimizer, "groups": [{"match": "first.*", "learning_rate": 0.2}]}
    pointer, detail = refused(bench, optimizer=frozen)
    assert pointer == "/optimizer/groups/0/match"
    assert "head.weight" in detail


def test_a_jobs_initial_parameters_are_stored(bench: Bench) -> None:
    given = initial(**{"head.bias": np.ones(2, np.float32)})
    answer = bench.http.post("/v1/jobs", json=spec(**given))
    assert answer.status_code == 201, answer.text
    assert list(answer.json()["spec"]["initial_parameters"].keys())
    [file] = (bench.data_dir / "parameters").iterdir()
    digest = answer.json()["spec"]["initial_parameters"]["digest"]
    assert file.name == f"{digest.removeprefix('sha256:')}.safetensors"
