"""Observed loops train as they would without it, bit for bit, and need nothing else installed."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch import observe
from tests.docs.blocks import blocks

Loss = Callable[[], Tensor]


class Words(nn.Module):  # type: ignore[misc]
    """Attention with dropout over tied words, called by names."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 8), nn.Parameter(torch.randn(5, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.block(self.words(ids) + self.places, mask)
        return functional.linear(self.last(hidden), self.words.weight)


def words() -> tuple[nn.Module, Loss]:
    ids, targets = torch.randint(0, 11, (6, 5)), torch.randint(0, 11, (6, 5))
    module, mask = Words(), torch.ones(5, 5, dtype=torch.bool).triu(1)
    return module, lambda: functional.cross_entropy(
        module(ids=ids, mask=mask).transpose(1, 2), targets
    )


def pictures() -> tuple[nn.Module, Loss]:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(inplace=True),
        nn.Dropout(0.3), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3),
    )  # fmt: skip
    inputs, targets = torch.randn(6, 3, 8, 8), torch.randint(0, 3, (6,))
    return module, lambda: functional.cross_entropy(module(inputs), targets)


def recurrent() -> tuple[nn.Module, Loss]:
    class Last(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 6, 2, dropout=0.1), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][-1])

    module, inputs, targets = Last(), torch.randn(5, 6, 4), torch.randint(0, 3, (6,))
    return module, lambda: functional.cross_entropy(module(inputs), targets)


def drawing_by_all_generators() -> tuple[nn.Module, Loss]:
    class Drawing(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            weight = functional.dropout(self.layer.weight, 0.5)
            x = x + random.random() + np.random.rand()  # noqa: NPY002
            return functional.linear(x, weight, self.layer.bias)

    module, inputs, targets = Drawing(), torch.randn(6, 4), torch.randint(0, 3, (6,))
    return module, lambda: functional.cross_entropy(module(inputs), targets)


def trained(
    build: Callable[[], tuple[nn.Module, Loss]], seen: bool, **options: Any
) -> tuple[dict[str, Tensor], list[Any]]:
    """The parameters after 20 steps, and the observed steps."""
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    module, loss = build()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    observer, steps = observe(module, **options) if seen else None, []
    for _ in range(20):
        with observer.step() if observer else nullcontext() as step:
            loss().backward()
            optimizer.step()
            optimizer.zero_grad()
        steps.append(step)
        module.eval()
        with torch.no_grad():
            loss()
        module.train()
    return module.state_dict(), steps


@pytest.mark.filterwarnings("ignore:Norms, noise scale and gradient norm leave out")
@pytest.mark.parametrize(
    ("build", "options"),
    [
        (words, {"gap_every": 1}),
        (pictures, {"gap_every": 1}),
        (pictures, {"every": 3}),
        (recurrent, {"axis": 1}),
        (drawing_by_all_generators, {"gap_every": 1}),
    ],
)
def test_training_has_the_same_bits(build: Any, options: Any) -> None:
    plain, _ = trained(build, seen=False)
    found, steps = trained(build, seen=True, **options)
    assert all(torch.equal(found[name], own) for name, own in plain.items())
    every = options.get("every", 1)
    assert [step.norms is not None for step in steps] == [n % every == 0 for n in range(20)]


WITHOUT = """
import os, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "ray", "scipy", "sklearn", "fastapi", "pyarrow"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import torch
before = dict(os.environ)
from batchgrad.torch import observe
module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))
with observe(module).step() as step:
    module(torch.randn(5, 3)).square().mean().backward()
assert step.norms is not None and step.quantiles
assert dict(os.environ) == before, set(os.environ) ^ set(before)
"""


def test_it_needs_neither_numba_nor_ray_and_sets_no_environment() -> None:
    kept = ("MKL_", "OMP_", "CUBLAS_", "OPENBLAS_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(kept)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT],
        check=False,
        env=own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[2] / "docs/how-to/observe.md"
    [block] = [each for each in blocks(page.read_text()) if each.language == "python"]
    names: dict[str, Any] = {}
    exec(compile(block.text, str(page), "exec"), names)  # noqa: S102 - the guide is ours
    assert names["observer"].suspects(1)[0].example == 7
    assert "Suspect(example=7, times_seen=5" in capsys.readouterr().out
