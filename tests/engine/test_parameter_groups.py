"""Parameter groups against torch's param_groups, each group stepped alone in numpy; and as jobs."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from batchgrad.contract import Optimizer
from batchgrad_engine.training import optimizers
from batchgrad_engine.training.parameter_groups import (
    Span,
    Unmatched,
    check_groups,
    pieces,
    spans,
)
from batchgrad_engine.training.schedules import learning_rate
from batchgrad_engine.vectors import BLOCK, THREADED
from batchgrad_workers.runtime.threads import ThreadPool
from tests.engine.attempts import ScriptedCommands, attempt, bits, finished, newest
from tests.engine.small_job import spec

ALONE = ThreadPool(1)
RULE: TypeAdapter[Any] = TypeAdapter(Optimizer)
SLICES = [("0.weight", 0, 6), ("0.bias", 6, 3), ("1.weight", 9, 3), ("1.bias", 12, 3)]
GROUPS = [
    {"match": "*.bias", "learning_rate": 0.3, "weight_decay": 0},
    {"match": "[01].*", "weight_decay": 0.25},  # the weights: biases are taken
]
KINDS: list[dict[str, Any]] = [
    {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"kind": "adam", "weight_decay": 0.1, "eps": 1e-3},
    {"kind": "adamw", "weight_decay": 0.1, "eps": 1e-3},
]
COSINE = {"kind": "cosine", "warmup_steps": 2, "final_fraction": 0.2}


def rule(**fields: Any) -> Any:
    return RULE.validate_python({"kind": "sgd", "learning_rate": 0.1, **fields})


def torch_steps(
    kind: dict[str, Any], lr: float, decay: float, theta: Any, gradients: Any, factors: list[float]
) -> Any:
    """One param_group of torch's SGD, Adam or AdamW under a LambdaLR with these factors."""
    theta, first, second = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    for t, (gradient, factor) in enumerate(zip(gradients, factors, strict=True), start=1):
        rate = lr * factor
        if kind["kind"] == "adamw":
            theta = theta * (1 - rate * decay)
            g = gradient
        else:
            g = gradient + decay * theta
        if kind["kind"] == "sgd":
            first = 0.9 * first + g
            theta = theta - rate * (g + 0.9 * first)
            continue
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        root = np.sqrt(second / (1 - 0.999**t))
        theta = theta - rate * (first / (1 - 0.9**t)) / (root + 1e-3)
    return theta


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_each_group_is_torch_s(kind: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    start, gradients = random.normal(size=15), random.normal(size=(6, 15))
    chosen = rule(**kind, schedule=COSINE, groups=GROUPS)
    theta = start.copy()
    made = optimizers.make_optimizer(chosen, ALONE, SLICES)
    for step, gradient in enumerate(gradients):
        made.update(theta, gradient, learning_rate(chosen, step, 6))

    cosine = [0.2 + 0.8 * (1 + np.cos(np.pi * t / 4)) / 2 for t in range(4)]
    factors = [0.5, 1.0, *cosine]
    for name, first, size in SLICES:
        part = slice(first, first + size)
        lr, decay = (0.3, 0.0) if name.endswith("bias") else (0.1, 0.25)
        expected = torch_steps(kind, lr, decay, start[part], gradients[:, part], factors)
        np.testing.assert_allclose(theta[part], expected, rtol=1e-12)


def test_the_first_match_counts_and_neighbours_are_one_span() -> None:
    assert spans(rule(weight_decay=0.5, groups=GROUPS), SLICES) == [
        Span(0, 6, 1.0, 0.25),
        Span(6, 9, 0.3 / 0.1, 0.0),
        Span(9, 12, 1.0, 0.25),
        Span(12, 15, 0.3 / 0.1, 0.0),
    ]
    last = [{"match": "1.*", "learning_rate": 0.0}]
    assert spans(rule(weight_decay=0.5, groups=last), SLICES) == [
        Span(0, 9, 1.0, 0.5),
        Span(9, 15, 0.0, 0.5),
    ]


def test_a_block_is_cut_where_spans_meet() -> None:
    three = [Span(0, 4, 1, 0), Span(4, 5, 2, 0), Span(5, 9, 3, 0)]

    assert list(pieces(three, slice(0, 9))) == [
        (0, slice(0, 4)),
        (1, slice(4, 5)),
        (2, slice(5, 9)),
    ]
    assert list(pieces(three, slice(2, 5))) == [(0, slice(2, 4)), (1, slice(4, 5))]
    assert list(pieces(three, slice(5, 7))) == [(2, slice(5, 7))]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_bits_are_those_of_each_group_alone_wherever_blocks_and_threads_cut(
    kind: dict[str, Any],
) -> None:
    sizes = [3, BLOCK - 1, 7, THREADED, 2 * BLOCK + 5]
    starts = [0, *np.cumsum(sizes).tolist()]
    slices = [(f"{k}.{'bias' if k % 2 else 'weight'}", starts[k], sizes[k]) for k in range(5)]
    groups = [{"match": "*.bias", "learning_rate": 0.3, "weight_decay": 0}]
    random = np.random.default_rng(1)
    start, *gradients = random.normal(size=(4, starts[-1])).astype(np.float32)
    with ThreadPool(3) as pool:
        made = optimizers.make_optimizer(rule(**kind, groups=groups), pool, slices)
        whole = start.copy()
        for gradient in gradients:
            made.update(whole, gradient, 0.1)
    own = [rule(**kind), rule(**kind | {"weight_decay": 0})]
    for k, (_, first, size) in enumerate(slices):
        part, rate = slice(first, first + size), 0.1 * (0.3 / 0.1) if k % 2 else 0.1
        alone, apart = optimizers.make_optimizer(own[k % 2], ALONE), start[part].copy()
        for gradient in gradients:
            alone.update(apart, gradient[part].copy(), rate)
        assert apart.tobytes() == whole[part].tobytes()


@pytest.mark.parametrize(
    ("patterns", "group", "says"),
    [
        (
            ["*.weight", "*.scale"],
            1,
            "'*.scale' matches none of the parameters, which are 0.weight",
        ),
        (["*", "1.bias"], 1, "only parameters that an earlier group has, such as 1.bias of '*'"),
        (["*.WEIGHT"], 0, "matches none"),
    ],
)
def test_a_group_without_parameters_is_refused(patterns: list[str], group: int, says: str) -> None:
    groups = [{"match": match, "weight_decay": 0} for match in patterns]
    with pytest.raises(Unmatched) as caught:
        check_groups(rule(groups=groups), [name for name, _, _ in SLICES])
    assert caught.value.group == group
    assert says in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (again.group, str(again)) == (group, str(caught.value))


def test_of_many_names_some_are_told() -> None:
    with pytest.raises(Unmatched, match=r"0\.w, .*19\.w and 5 more\. \* stands for"):
        check_groups(
            rule(groups=[{"match": "x", "weight_decay": 0}]), [f"{k}.w" for k in range(25)]
        )


@pytest.mark.parametrize(
    "group",
    [
        {"match": "*"},
        {"match": "", "weight_decay": 0},
        {"match": "*", "learning_rate": -0.1},
        {"match": "*", "weight_decay": -1},
        {"match": "*", "lr": 0.1},
    ],
)
def test_a_group_that_says_nothing_or_something_wrong_is_refused(group: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rule(groups=[group])


FROZEN = {
    "optimizer": {
        "kind": "adamw",
        "learning_rate": 0.05,
        "weight_decay": 0.1,
        "schedule": COSINE,
        "groups": [
            {"match": "0.*", "learning_rate": 0},
            {"match": "*.bias", "learning_rate": 0.1, "weight_decay": 0},
        ],
    }
}


def test_a_job_keeps_what_has_rate_0_and_goes_on_with_the_same_bits(
    dataset: Path, tmp_path: Path
) -> None:
    job, directory = spec(**FROZEN), tmp_path / "paused"
    attempt(job, dataset, directory, ScriptedCommands(0, "pause"))
    start = newest(directory).parameters
    attempt(job, dataset, directory, ScriptedCommands(7, "pause"))
    paused = bits(attempt(job, dataset, directory))
    end = newest(directory).parameters

    assert paused == bits(attempt(job, dataset, tmp_path / "whole"))
    for name, array in start.items():
        assert (end[name].tobytes() == array.tobytes()) == name.startswith("0.")


def test_groups_with_the_optimizer_s_own_numbers_change_no_bit(
    dataset: Path, tmp_path: Path
) -> None:
    own = {"kind": "adamw", "learning_rate": 0.05, "weight_decay": 0.1, "schedule": COSINE}
    same = own | {"groups": [{"match": "*.bias", "learning_rate": 0.05, "weight_decay": 0.1}]}

    assert bits(attempt(spec(optimizer=own), dataset, tmp_path / "without")) == bits(
        attempt(spec(optimizer=same), dataset, tmp_path / "with")
    )


def test_a_job_with_a_group_of_none_fails_with_the_reason(dataset: Path, tmp_path: Path) -> None:
    """Such as a PyTorch module, whose names the plan may not know."""
    groups = [{"match": "encoder.*", "weight_decay": 0}]
    job = spec(optimizer={"kind": "sgd", "learning_rate": 0.1, "groups": groups})

    end = finished(attempt(job, dataset, tmp_path / "job"))

    assert (end.outcome, end.reason) == ("failed", "bad_inputs")
    assert "optimizer.groups[0].match: 'encoder.*' matches none" in (end.detail or "")
