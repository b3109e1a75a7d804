"""`list`: columns to choose, and jobs sorted by any of their values."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def listed(kit: Any, run: Run, *arguments: str) -> Result:
    """The list of three jobs; the second has no validation loss yet."""
    losses: list[float | None] = [0.5, None, 0.25]
    jobs = [
        kit.job(
            id=f"job_{number}",
            validation_loss=loss,
            labels={"sweep": "s"},
            spec={**kit.SPEC, "batch_size": ["full", 64, 128][number]},
        )
        for number, loss in enumerate(losses)
    ]
    return run(kit.Script(kit.page(*jobs)), "list", *arguments)


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--sort", "validation_loss"], [2, 0, 1]),  # without a figure: last, in both orders
        (["--sort", "validation_loss", "--descending"], [0, 2, 1]),
        (["--sort", "batch_size"], [1, 2, 0]),
        (["--sort", "validation_loss", "--limit", "1"], [2]),
        (["--sort", "created", "--limit", "2"], [0, 1]),
    ],
)
def test_jobs_are_sorted_before_they_are_limited(
    kit: Any, run: Run, arguments: list[str], numbers: list[int]
) -> None:
    done = listed(kit, run, *arguments, "--output", "json")
    assert [job["id"] for job in json.loads(done.stdout)] == [f"job_{one}" for one in numbers]
    table = listed(kit, run, *arguments).stdout
    assert [word for word in table.split() if word.startswith("job_")] == [
        f"job_{one}" for one in numbers
    ]


def test_columns_are_values_of_the_job_and_of_its_spec(kit: Any, run: Run) -> None:
    names = "id,optimizer.learning_rate,labels.sweep,spec.loss,loss,validation_accuracy,finished"
    done = listed(kit, run, "--columns", names, "--limit", "1")
    heading, _, row = done.stdout.strip().splitlines()
    assert heading.split() == [*names.split(",")[:5], "validation", "accuracy", "finished"]
    expected = ["job_0", "0.1", "s", "softmax_cross_entropy", "0.25", "97.50%", "–"]
    assert row.split() == expected
    data = listed(kit, run, "--columns", "id,created", "--columns", "batch_size", "-o", "json")
    assert json.loads(data.stdout)[0] == {
        "id": "job_0",
        "created_at": kit.TIME,
        "batch_size": "full",
    }


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("validaton_loss", "did you mean validation_loss?"),
        ("optimizer.lr", "did you mean optimizer.learning_rate?"),
        ("momentum", "did you mean optimizer.momentum?"),
        ("nothing", "expected one such as validation_loss"),
    ],
)
@pytest.mark.parametrize("option", ["--sort", "--columns"])
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(
    kit: Any, run: Run, option: str, name: str, meant: str
) -> None:
    done = listed(kit, run, option, name)
    assert done.exit_code == 2
    assert f"A job has no '{name}': {meant}" in done.stderr
    assert run(kit.Script(kit.page()), "list", option, name).exit_code == 2  # without jobs, too


def test_a_name_that_only_other_jobs_have_shows_nothing(kit: Any, run: Run) -> None:
    done = listed(kit, run, "--columns", "id,optimizer.beta1,early_stopping.patience", "-o", "json")
    assert json.loads(done.stdout)[0]["optimizer.beta1"] is None
    assert run(kit.Script(kit.page()), "list", "--sort", "labels.mine").exit_code == 0
    assert listed(kit, run, "--descending").exit_code == 2
