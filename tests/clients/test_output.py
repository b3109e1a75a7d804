"""`--output`: each command writes its result as a table, as JSON or as YAML."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
import yaml
from typer.testing import Result

from batchgrad import Job, StepRow, Version
from batchgrad.cli.app import app
from batchgrad.user_machine import compare, demo
from batchgrad_service.data_directory import leftovers

UNTIL_STOPPED = {"serve"}
"""Commands without a result."""


def commands(group: Any, *path: str) -> Iterator[tuple[str, Any]]:
    """Each command by its name; a subcommand follows its group's name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join([*path, name]), command


def command_table() -> dict[str, Any]:
    found = dict(commands(typer.main.get_command(app)))
    return {name: command for name, command in found.items() if name not in UNTIL_STOPPED}


def plan_of(kit: Any) -> dict[str, Any]:
    counts = ["training_examples", "validation_examples", "parameters", "steps_planned"]
    counts += ["steps_per_epoch", "microbatches_per_step", "microbatch_size", "gradient_bytes"]
    lists: dict[str, Any] = {"layers": [], "shortcuts": [], "warnings": []}
    return {"dataset_digest": "sha256:0", "memory_bytes": 1, **dict.fromkeys(counts, 2), **lists}


def gradients_of() -> dict[str, Any]:
    scale = {"trace": None, "signal": None, "simple": None}
    mean = {"loss": 0.5, "examples": 1, "mean_gradient": {"0.bias": [1.0]}, "norms": [1.0]}
    return {**mean, "shortcuts": {}, "depths": [], "noise_scale": scale}


def case(name: str, kit: Any, folder: Path, spec_file: str) -> tuple[list[str], list[Any]]:
    """The arguments of a command, and the answers of the service."""
    job, dataset = kit.answer(200, kit.job()), kit.answer(200, kit.DATASET)
    ended = kit.answer(200, kit.job(status="succeeded", labels={"sweep": "s"}))
    sweeping = kit.answer(201, kit.job(labels={"sweep": "s"}))
    step = {"step": 3, "gradient_norm": 1.0, "gradient_checksum": "a", "verified": True}
    minibatch = folder / "minibatch.yaml"
    minibatch.write_text(
        "model: {layers: [{kind: relu}]}\nloss: squared_error\ninputs: [[1]]\ntargets: [1]\n"
    )
    npz = folder / "digits.npz"
    npz.write_bytes(b"npz")
    digest = f"sha256:{hashlib.sha256(b'npz').hexdigest()}"
    sent = kit.answer(201, {"digest": digest, "bytes": 3, "received": 3})
    times = {"created_at": kit.TIME, "finished_at": kit.TIME}
    operation = {"id": "o", "status": "succeeded", "rows_done": 1, "rows": 1, **times}
    parameters = {"parameters_digest": digest, "parameters_step": 2}
    confusion = {"classes": ["a", "b"], "confusion": [[1, 0], [0, 2]]}
    evaluation = {"examples": 3, "loss": 0.5, "accuracy": 1.0, **confusion, **parameters}
    cases: dict[str, tuple[list[str], list[Any]]] = {
        "demo": ([], []),
        "gc": (["--data-dir", str(folder)], []),
        "submit": ([spec_file], [kit.answer(201, kit.job())]),
        "submit --dry-run": ([spec_file, "--dry-run"], [kit.answer(200, plan_of(kit))]),
        "submit --watch": ([spec_file, "--watch"], [kit.answer(201, kit.job()), ended]),
        "run": ([spec_file], [dataset, kit.answer(201, kit.job()), ended]),
        "ready": ([], [kit.answer(200)]),
        "sweep": (
            [spec_file, "--over", "seed=1"],
            [dataset, kit.answer(200, plan_of(kit)), sweeping, ended],
        ),
        "get": (["job_1"], [job]),
        "wait": (["job_1"], [ended]),
        "events": (["job_1"], [kit.page({"seq": 1, "time": kit.TIME, "type": "end", "data": {}})]),
        "steps": (["job_1"], [kit.page(kit.STEP)]),
        "list": ([], [kit.page(kit.job())]),
        "cancel": (["job_1"], [job]),
        "pause": (["job_1"], [job]),
        "resume": (["job_1"], [job]),
        "delete": (["job_1"], [httpx2.Response(204)]),
        "download": (
            ["job_1", "--to", str(folder / "theta.npz")],
            [job, httpx2.Response(200, content=b"bytes")],
        ),
        "compare": ([spec_file], [dataset]),
        "examples": (["job_1"], [kit.answer(200, {"step": 3, "order": "mean_norm", "data": []})]),
        "examples --step": (
            ["job_1", "--step", "3"],
            [kit.answer(200, {**step, "replayed_from": 1, "data": []})],
        ),
        "rows": (["job_1"], [kit.page({"example": 3, "id": "c3"})]),
        "datasets push": (["digits", str(npz)], [dataset]),
        "datasets show": (["digits"], [dataset]),
        "datasets list": ([], [kit.page(kit.DATASET)]),
        "datasets budget": (["digits", "--epsilon", "8"], [dataset]),
        "datasets delete": (["digits"], [httpx2.Response(204)]),
        "spec": (["digits"], [dataset]),
        "gradients": ([str(minibatch)], [kit.answer(200, gradients_of())]),
        "predict": (
            ["job_1", str(npz), "--to", str(folder / "out.csv")],
            [
                sent,
                kit.answer(202, {**operation, "kind": "prediction", "bytes": 3}),
                httpx2.Response(206, content=b"a\n1"),
                httpx2.Response(204),
            ],
        ),
        "evaluate": (
            ["job_1", "--set", "test"],
            [kit.answer(202, {**operation, "kind": "evaluation", "evaluation": evaluation})],
        ),
        "version": (
            [],
            [kit.answer(200, dict.fromkeys(Version.model_fields, "1"))],
        ),
    }
    return cases[name]


@pytest.fixture
def without_services(monkeypatch: pytest.MonkeyPatch, kit: Any) -> None:
    """Replace the functions that use a service by functions with fixed results."""
    job = Job.model_validate(kit.job(status="succeeded"))
    result = demo.Result(job, StepRow.model_validate(kit.STEP))
    monkeypatch.setattr(demo, "train", lambda *_, **__: result)
    variant = compare.Variant("mean_gradient", job, 0.5, 0.25, [(1, 0.5, 1.0)])
    monkeypatch.setattr(compare, "compare", lambda *_, **__: iter([variant]))
    monkeypatch.setattr(leftovers, "collect", lambda *_, **__: ([], True))


def test_each_command_has_the_option() -> None:
    table = command_table()
    assert len(table) >= 19
    for name, command in table.items():
        [option] = [one for one in command.params if one.name == "output"]
        assert option.opts == ["--output", "-o"], name
        assert option.default == "table", name


VARIANTS = {"submit": ["--dry-run", "--watch"], "examples": ["--step"]}


@pytest.mark.parametrize(
    "name",
    [
        " ".join(filter(None, [command, variant]))
        for command in command_table()
        for variant in ["", *VARIANTS.get(command, [])]
    ],
)
@pytest.mark.usefixtures("without_services")
def test_stdout_is_one_document(
    kit: Any, run: Callable[..., Result], tmp_path: Path, spec_file: str, name: str
) -> None:
    command = name.partition(" --")[0].split()
    written = {}
    for form in ("json", "yaml", "table"):
        folder = tmp_path / form
        folder.mkdir()
        arguments, answers = case(name, kit, folder, spec_file)
        script = kit.Script(*answers or [httpx2.Response(204)])
        done = run(script, *command, *arguments, "--output", form)
        assert done.exit_code == 0, done.output
        written[form] = done.stdout
    value = json.loads(written["json"])
    assert value == yaml.safe_load(written["yaml"].replace("/yaml/", "/json/"))
    assert isinstance(value, dict | list)
    assert written["json"].count("\n") == 1
    assert not written["table"].startswith(("{", "---"))
