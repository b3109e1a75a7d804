"""The task of a job is built by a user's function, with random numbers from the job's seed."""

import random
import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from batchgrad.contract.training.module import JobModel
from batchgrad.torch.tasks import Task
from batchgrad_workers.user_code.errors import UserCodeError
from batchgrad_workers.user_code.loading import load_task
from batchgrad_workers.user_code.sources import CodeSource, importable

PACKAGE = """
import random

import numpy
import torch
from torch import nn

from batchgrad.torch.tasks import Task


def build(config):
    width = config.pop("width")
    module = nn.Linear(width, 1)
    module.register_buffer("of_python", torch.tensor(random.random()))
    module.register_buffer("of_numpy", torch.tensor(numpy.random.random()))
    return Task(
        module,
        lambda module, batch: module(batch["inputs"])[:, 0],
        lambda outputs, batch: (outputs - batch["targets"]) ** 2,
    )


def a_module(config):
    return nn.Linear(3, 1)


def broken(config):
    return nn.Linear(3, "one")
"""

MODELS = {
    name: JobModel(torch=f"loaded_task:{name}", config={"width": 3})
    for name in ("build", "a_module", "broken")
}


@pytest.fixture
def source(tmp_path: Path) -> Iterator[CodeSource]:
    (tmp_path / "loaded_task.py").write_text(PACKAGE)
    before = list(sys.path)
    yield CodeSource(search_path=tmp_path)
    sys.path[:] = before
    sys.modules.pop("loaded_task", None)


def load(source: CodeSource, function: str = "build", seed: int = 3) -> Task:
    return load_task(MODELS[function], source, seed)


def test_a_task_is_the_same_for_the_same_seed(source: CodeSource) -> None:
    states = [load(source, seed=seed).module.state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not any(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_uploaded_code_is_forgotten_beside_torch() -> None:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("loaded_alone.py", PACKAGE)
    with importable(CodeSource(content=content.getvalue())):
        import_module("loaded_alone")
    assert "loaded_alone" not in sys.modules


def test_other_random_numbers_stay_as_they_were(source: CodeSource) -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    expected = drawn()
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    load(source)
    assert drawn() == expected


def test_what_is_no_task_is_refused(source: CodeSource) -> None:
    message = r"returned torch\.nn\.modules\.linear\.Linear; expected a batchgrad\.torch Task"
    with pytest.raises(UserCodeError, match=message):
        load(source, "a_module")


def test_an_error_of_torch_tells_the_users_line(source: CodeSource) -> None:
    message = r"^loaded_task\.py, line 28, in broken: TypeError: "
    with pytest.raises(UserCodeError, match=message):
        load(source, "broken")
