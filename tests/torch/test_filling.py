"""Parameters of a download in a module of the user: strict about names and shapes."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from batchgrad.errors import FileFailed, InvalidArgument
from batchgrad.torch import load


def net() -> Any:
    module = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False), nn.LayerNorm(4))
    module[1].weight = module[0].weight
    module[2].requires_grad_(requires_grad=False)
    module.register_buffer("scale", torch.tensor(2.0))
    return module


def download(**changes: Any) -> bytes:
    trained: dict[str, Any] = {"0.weight": torch.arange(12.0).reshape(4, 3), **changes}
    content: bytes = safetensors.torch.save(
        {name: each for name, each in trained.items() if each is not None}
    )
    return content


def test_trained_parameters_are_copied(tmp_path: Path) -> None:
    module = net()
    weight = module[0].weight
    (tmp_path / "a.safetensors").write_bytes(download())
    assert load(module, tmp_path / "a.safetensors") is module
    assert module[0].weight is module[1].weight is weight  # an optimizer of the user holds it
    assert weight.tolist() == torch.arange(12.0).reshape(4, 3).tolist()
    assert module.scale == 2
    load(module, download(scale=torch.tensor(5.0)))
    assert module.scale == 5


WRONG: list[tuple[bytes, str]] = [
    (download(**{"0.weights": torch.ones(1)}), "did you rename 0.weight?"),
    (download(spam=torch.ones(1)), "no parameter of this name; it has 0.weight, 2.weight"),
    (download(**{"0.weight": torch.ones(3, 4)}), r"0.weight \[3, 4\]; the module has .*\[4, 3\]"),
    (download(**{"0.weight": None, "scale": torch.ones(())}), "which is trainable; the file has s"),
    (b"PK\3\4", "is an npz; expected a safetensors file"),
    (b"spam", "is no safetensors file"),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_what_does_not_fit_changes_nothing(content: bytes, message: str) -> None:
    module = net()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    with pytest.raises(InvalidArgument, match=message):
        load(module, content)
    assert all(torch.equal(each, before[name]) for name, each in module.state_dict().items())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFailed, match="none cannot be read"):
        load(net(), tmp_path / "none")
    with pytest.raises(InvalidArgument, match="module is a str"):
        load("net", download())
