"""The jobs of a sweep: combinations, samples of ranges, and the specs that are sent."""

import json
import math
from typing import Any

import httpx2
import numpy as np
import pytest

from batchgrad import errors
from batchgrad.parsing import sweeps

RATE = "optimizer.learning_rate"


def test_values_are_read_as_for_set_and_combined_in_order() -> None:
    over = sweeps.read_over([f"{RATE}=1e-2,0.1", "batch_size=64,full", "x=[1,2],{kind: relu},null"])
    assert over == {
        RATE: [0.01, 0.1],
        "batch_size": [64, "full"],
        "x": [[1, 2], {"kind": "relu"}, None],
    }
    chosen = sweeps.choices({key: over[key] for key in (RATE, "batch_size")}, None, 0)
    assert [tuple(one.values()) for one in chosen] == [
        (0.01, 64),
        (0.01, "full"),
        (0.1, 64),
        (0.1, "full"),
    ]


def test_samples_of_ranges_are_spread_over_them_and_repeatable() -> None:
    over = {RATE: "log:0.001..1", "batch_size": "10..19", "seed": [1, 2], "x": "-1..1.0"}
    chosen = sweeps.choices(over, 300, 7)
    assert chosen == sweeps.choices(over, 300, 7)
    assert chosen != sweeps.choices(over, 300, 8)
    assert chosen[:20] == sweeps.choices(over, 20, 7)  # more samples keep the first ones
    rates = np.log10([one[RATE] for one in chosen])
    assert -3 <= rates.min() < -2.9
    assert -0.1 < rates.max() <= 0
    assert abs(np.median(rates) + 1.5) < 0.3  # uniform in the logarithm
    sizes = [one["batch_size"] for one in chosen]
    assert set(sizes) == set(range(10, 20))
    assert all(isinstance(size, int) for size in sizes)
    assert {one["seed"] for one in chosen} == {1, 2}
    assert -1 <= min(one["x"] for one in chosen) < -0.9
    whole = {one["n"] for one in sweeps.choices({"n": "log:1..8"}, 8, 0)}
    assert whole == set(range(1, 9))


def test_samples_are_all_different() -> None:
    over = {"seed": [1, 2, 3], "batch_size": "1..2"}
    chosen = sweeps.choices(over, 6, 0)
    assert len({json.dumps(one) for one in chosen}) == 6


@pytest.mark.parametrize(
    ("over", "samples", "message"),
    [
        ({}, None, "expected values by key"),
        ({"seed": []}, None, "expected a list of values, or a range"),
        ({"seed": 3}, None, "seed is 3; expected a list"),
        ({3: [1]}, None, "a key of over is a int"),
        ({"seed": "1..3"}, None, "say how many"),
        ({"seed": "3..1"}, 2, "the lower first"),
        ({RATE: "log:0..1"}, 2, "two numbers above 0"),
        ({RATE: "1..x"}, 2, r"a range is 0\.001\.\.0\.1"),
        ({"seed": ["1..3", 5]}, 2, "a range and other values"),
        ({"seed": [1, 2]}, 3, "only 2 combinations"),
        ({"seed": list(range(1001))}, None, "at most 1000"),
        ({RATE: "0.1..1"}, 1001, "at most 1000"),
        ({RATE: "0.1..1"}, 0, "samples is 0"),
    ],
)
def test_what_is_no_sweep_is_refused(over: Any, samples: Any, message: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=message):
        sweeps.choices(over, samples, 0)


def test_a_key_is_given_once_and_a_value_is_yaml() -> None:
    with pytest.raises(errors.InvalidArgument, match="seed is given twice"):
        sweeps.read_over(["seed=1", "seed=2"])
    with pytest.raises(errors.InvalidSpec, match=r"x=\[1: the value"):
        sweeps.read_over(["x=[1"])
    with pytest.raises(errors.InvalidSpec, match="expected KEY=VALUE"):
        sweeps.read_over(["seed"])


def test_specs_have_their_values_a_number_and_the_label() -> None:
    spec = {"name": "n" * 128, "model": {"layers": [{"kind": "relu"}]}, "labels": {"mine": "1"}}
    chosen: list[dict[str, Any]] = [
        {"model.layers.0.kind": "tanh"},
        {"model.layers.0.kind": "silu", RATE: 1},
    ]
    first, second = sweeps.expand(spec, chosen, "s")
    assert first["model"] == {"layers": [{"kind": "tanh"}]}
    assert second["model"] == {"layers": [{"kind": "silu"}]}
    assert second["optimizer"] == {"learning_rate": 1}
    assert first["labels"] == {"mine": "1", "sweep": "s"}
    assert (first["name"], second["name"]) == ("n" * 120 + ".1", "n" * 120 + ".2")
    assert spec["model"] == {"layers": [{"kind": "relu"}]}
    with pytest.raises(errors.InvalidSpec, match="there is no '3'"):
        sweeps.expand(spec, [{"model.layers.3.kind": "tanh"}], "s")


def plan_of(_: httpx2.Request) -> httpx2.Response:
    counts = ["training_examples", "validation_examples", "parameters", "steps_planned"]
    counts += ["steps_per_epoch", "microbatches_per_step", "microbatch_size", "gradient_bytes"]
    lists: dict[str, Any] = {"layers": [], "shortcuts": [], "warnings": []}
    plan = {"dataset_digest": "x", "memory_bytes": 1, **dict.fromkeys(counts, 1), **lists}
    return httpx2.Response(200, json=plan)


def test_client_submits_all_jobs_in_order_once_all_have_plans(kit: Any) -> None:
    def created(request: httpx2.Request) -> httpx2.Response:
        spec = json.loads(request.content)
        return kit.answer(201, kit.job(id=spec["name"], spec=spec, labels=spec["labels"]))

    script = kit.Script(plan_of, plan_of, created)
    with script.client() as client:
        jobs = client.sweep(kit.SPEC, {RATE: np.array([0.5, 0.25])})
    assert [job.id for job in jobs] == ["digits.1", "digits.2"]
    assert [job.spec.optimizer.learning_rate for job in jobs] == [0.5, 0.25]
    [label] = {job.labels["sweep"] for job in jobs}
    assert label.startswith("digits-")
    paths = [request.url.path for request in script.seen]
    assert paths == ["/v1/plans"] * 2 + ["/v1/jobs"] * 2
    assert math.isclose(json.loads(script.seen[3].content)["optimizer"]["learning_rate"], 0.25)


def test_client_submits_nothing_if_one_spec_is_refused(kit: Any) -> None:
    refused = kit.problem(422, "invalid", "No.", ("/seed", "got -1."))
    script = kit.Script(plan_of, refused)
    with script.client() as client, pytest.raises(errors.InvalidRequest) as caught:
        client.sweep(kit.SPEC, {"seed": [1, -1]})
    assert str(caught.value).splitlines() == [
        "With seed=-1: the spec is not valid.",
        "  /seed: got -1.",
    ]
    assert {request.url.path for request in script.seen} == {"/v1/plans"}


def test_several_jobs_are_watched_until_all_have_ended(kit: Any) -> None:
    def job(id_: str, **changes: Any) -> httpx2.Response:
        return kit.answer(200, kit.job(id=id_, **changes))

    script = kit.Script(
        *[job("a", status="running"), job("b", status="queued")],
        *[job("a", status="succeeded"), job("b", status="queued")],
        httpx2.ConnectError("restarting"),  # sent again
        job("b", status="failed"),  # the one that has ended is read no more
    )
    with script.client() as client:
        seen = [[job.status for job in jobs] for jobs in client.watch_all(["a", "b"])]
    assert seen == [["running", "queued"], ["succeeded", "queued"], ["succeeded", "failed"]]
    script = kit.Script(job("a", status="succeeded"), job("b", status="running"))
    with script.client() as client, pytest.raises(errors.NotFinished, match="Job b is running"):
        list(client.watch_all(["a", "b"], timeout=0))
    with script.client() as client:
        assert list(client.watch_all([])) == []


def test_a_thousand_jobs_are_a_sweep() -> None:
    assert len(sweeps.choices({"seed": list(range(1000))}, None, 0)) == 1000


def test_jobs_share_no_value() -> None:
    over = {"optimizer": [{"kind": "sgd", "learning_rate": 1}], RATE: [2, 3]}
    specs = sweeps.expand({"name": "j"}, sweeps.choices(over, None, 0), "s")
    assert [one["optimizer"]["learning_rate"] for one in specs] == [2, 3]
