"""Tasks as archives: what is unpacked in another process computes the same bits."""

import importlib.util
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from batchgrad.errors import InvalidArgument
from batchgrad.torch import Task, classification
from batchgrad.torch.packing.archive import Packed, pack


def unpacked(packed: Packed, folder: Path, *, fill: bool = True) -> Task:
    """The task in this process, with its values."""
    with zipfile.ZipFile(io.BytesIO(packed.archive)) as archive:
        archive.extractall(folder)
    name = packed.function.partition(":")[0]
    spec = importlib.util.spec_from_file_location(name, folder / name / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Task = module.build({})
    if fill:
        made.module.load_state_dict(safetensors.torch.load(packed.parameters), strict=False)
    return made


class Tied(nn.Module):  # type: ignore[misc]
    """Tied weights, buffers of both kinds, a plain tensor, a frozen parameter and a lambda."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight
        self.frozen = nn.Parameter(torch.randn(4), requires_grad=False)
        self.register_buffer("scale", torch.tensor([1.0, 2, 3, 4]))
        self.register_buffer("mask", torch.tensor([1, 0, 1, 1]), persistent=False)
        self.plain = torch.tensor([0.5])
        self.again = [self.plain, self.mask]
        self.names = {"b", "a", "c"}
        self.activation: Callable[[Tensor], Tensor] = lambda hidden: hidden.tanh() * 2

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.embedding(inputs) * self.scale * self.mask * self.plain + self.frozen
        logits: Tensor = self.head(self.activation(hidden))
        return logits


@pytest.fixture
def tied() -> Tied:
    torch.manual_seed(8)
    return Tied()


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return {"inputs": torch.tensor([0, 3, 5]), "targets": torch.tensor([1, 2, 3])}


def losses(made: Task, batch: dict[str, Tensor]) -> Tensor:
    return made.losses(made.outputs(made.module, batch), batch)


def test_a_round_trip_computes_the_same_bits(
    tied: Tied, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    before = {name: each.clone() for name, each in tied.state_dict().items()}
    original = classification(tied)
    other = unpacked(pack(original), tmp_path)
    assert other.module is not tied
    assert torch.equal(losses(other, batch), losses(original, batch))
    assert all(torch.equal(each, before[name]) for name, each in tied.state_dict().items())


def test_what_is_shared_stays_shared(tied: Tied, tmp_path: Path) -> None:
    module: Any = unpacked(pack(classification(tied)), tmp_path).module
    assert module.head.weight is module.embedding.weight
    assert module.again[0] is module.plain
    assert module.again[1] is module.mask
    assert module.names == {"a", "b", "c"}
    assert [name for name, each in module.named_parameters() if not each.requires_grad] == [
        "frozen"
    ]
    assert dict(module.named_parameters()).keys() == dict(tied.named_parameters()).keys()
    assert module.state_dict().keys() == tied.state_dict().keys()


def test_parameters_travel_once_and_beside_the_code(tied: Tied, tmp_path: Path) -> None:
    packed = pack(classification(tied))
    names = safetensors.torch.load(packed.parameters)
    assert sorted(names) == ["embedding.weight", "frozen", "scale"]
    assert packed.precision == "float32"
    assert pack(classification(tied.double())).precision == "float64"
    unset: Any = unpacked(packed, tmp_path, fill=False).module
    assert not torch.equal(unset.embedding.weight, tied.embedding.weight.float())
    assert unset.mask.tolist() == [1, 0, 1, 1]


def test_a_large_module_makes_a_small_archive() -> None:
    packed = pack(classification(nn.Linear(1000, 1000)))
    assert len(packed.archive) < 20_000
    assert len(packed.parameters) > 4_000_000


def test_a_module_in_evaluation_mode_is_trained(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    module.eval()
    other: Any = unpacked(pack(classification(module)), tmp_path / "1").module
    assert other.training
    assert other[1].training
    assert not module.training
    module.train()
    module[1].eval()
    other = unpacked(pack(classification(module)), tmp_path / "2").module
    assert other.training
    assert not other[1].training


def test_half_precision_travels_as_float32() -> None:
    packed = pack(classification(nn.Linear(2, 2).to(torch.bfloat16)))
    assert {each.dtype for each in safetensors.torch.load(packed.parameters).values()} == {
        torch.float32
    }


REFUSED = [
    (nn.LazyLinear(3), "weight has no shape yet: call the module once"),
    (nn.Linear(2, 2, device="meta"), "weight is on the device meta"),
]


@pytest.mark.parametrize(("module", "message"), REFUSED)
def test_a_module_without_values_is_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        pack(classification(module))


def test_what_cannot_be_pickled_is_refused() -> None:
    module = nn.Linear(2, 2)
    module.lock = threading.Lock()
    message = r"cannot be packed: TypeError: cannot pickle '_thread.lock'.*model: \{torch: "
    with pytest.raises(InvalidArgument, match=message):
        pack(classification(module))


class Closing(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.function: Callable[[Tensor], Tensor] = lambda inputs: self.linear(inputs) * 2


SHARED = nn.Linear(2, 2)


def by_global(_: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = SHARED(batch["inputs"])
    return found


def test_functions_that_hold_the_module_itself_are_refused() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    weight, losses = module[0].weight, classification(module).losses
    wrong: list[tuple[Task, str]] = [
        (
            Task(module, lambda _, batch: module(batch["inputs"]), losses),
            "the module by its v.* mod",
        ),
        (
            Task(module, lambda _, batch: batch["inputs"] @ weight, losses),
            "0.weight of the module by its variable weight",
        ),
        (Task(SHARED, by_global, losses), "by_global, line .* by its variable SHARED"),
        (classification(Closing()), "the module by its variable self"),
    ]
    for made, message in wrong:
        with pytest.raises(InvalidArgument, match=message):
            pack(made)
    pack(Task(module, lambda module, batch: module(batch["inputs"]), losses))
    pack(Task(SHARED, lambda _, batch: batch["inputs"].SHARED, losses))  # an attribute's name


SCRIPT = """
import os, sys
import torch
from torch import nn
{imports}

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.last = {layer}(width, 2)
        self.options = {{str(n) for n in range(20)}}

    def forward(self, inputs):
        return self.last(self.first(inputs).tanh())

POWER = 4
{power}

def loss(outputs, targets):
    return (outputs - targets).abs().pow(power()).sum(1)

def main():
    from batchgrad.torch import task
    from batchgrad.torch.packing.archive import pack
    torch.manual_seed(1)
    made = task(Net(4), loss)
    batch = {{"inputs": torch.ones(2, 3), "targets": torch.zeros(2, 2)}}
    found = made.losses(made.outputs(made.module, batch), batch)
    packed = pack(made)
    with open(sys.argv[1], "wb") as file:
        file.write(packed.archive)
    with open(sys.argv[2], "wb") as file:
        file.write(packed.parameters)
    print(packed.function, *found.tolist())

main()
"""

HELPER = """
import math
from torch import nn

FACTOR = math.sqrt(4.0)

class Scaled(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) * FACTOR
"""

WAYS = {
    "notebook": {"imports": "", "layer": "nn.Linear", "power": "power = lambda: POWER"},
    "script": {"imports": "", "layer": "nn.Linear", "power": "def power(): return POWER"},
    "beside": {"imports": "import helper", "layer": "helper.Scaled", "power": "power = lambda: 3"},
    "module": {"imports": "import helper", "layer": "helper.Scaled", "power": "power = lambda: 2"},
    "names": {
        "imports": "from nets.helper import Scaled",
        "layer": "Scaled",
        "power": "def power(of=[2]): return of[0]",
    },
}


def pack_in(folder: Path, way: str, seed: str) -> Packed:
    """What a script or a notebook in `folder` packs; it says what its losses are."""
    (folder / "nets").mkdir(parents=True)
    (folder / "elsewhere").mkdir()
    (folder / "helper.py").write_text(HELPER)
    (folder / "nets" / "helper.py").write_text(HELPER)
    (folder / "train.py").write_text(SCRIPT.format(**WAYS[way]))
    # A notebook runs its cells like this, in a __main__ without a file.
    cell = ["-c", "exec(compile(open('train.py').read(), '/tmp/ipykernel_7/1.py', 'exec'))"]
    script = ["../train.py" if way == "beside" else "train.py"]
    files = [str(folder / name) for name in ("code.zip", "start")]
    done = subprocess.run(
        [sys.executable, *(cell if way == "notebook" else script), *files],
        cwd=folder / "elsewhere" if way == "beside" else folder,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    function, *expected = done.stdout.split()
    packed = Packed(
        function, (folder / "code.zip").read_bytes(), (folder / "start").read_bytes(), "float32"
    )
    made = unpacked(packed, folder / "unpacked")  # this process knows none of the classes
    batch = {"inputs": torch.ones(2, 3), "targets": torch.zeros(2, 2)}
    assert [str(each) for each in losses(made, batch).tolist()] == expected
    return packed


@pytest.mark.parametrize("way", WAYS)
def test_code_of_scripts_notebooks_and_their_folders_travels(tmp_path: Path, way: str) -> None:
    first = pack_in(tmp_path / "1", way, "1")
    second = pack_in(tmp_path / "2", way, "2")  # in another folder, with other hashes of text
    assert first == second
