"""Modules of which copies would train otherwise are refused, and so are those that remember."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchgrad.errors import InvalidArgument
from batchgrad.torch.packing.archive import pack
from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Batch, Replica
from tests.torch.zoo.case import Model, parameter, squares


def task_of(module: nn.Module) -> Task:
    return Task(module, lambda module, batch: module(batch["inputs"]), squares)


def rows() -> Batch:
    random = torch.Generator().manual_seed(1)
    inputs, targets = (
        torch.randn(6, size, dtype=torch.float64, generator=random) for size in (4, 3)
    )
    return Batch({"inputs": inputs, "targets": targets}, torch.ones(6, dtype=torch.float64))


def two_layers() -> Any:
    return Model(lambda m, x: m.b(m.a(x).tanh()), a=nn.Linear(4, 4), b=nn.Linear(4, 3))


def hooked() -> nn.Module:
    module = two_layers()
    module.a.weight.register_hook(lambda gradient: gradient * 0)
    return module


def hooked_after() -> nn.Module:
    module = two_layers()
    module.a.weight.register_post_accumulate_grad_hook(lambda own: own.grad.zero_())
    return module


def in_the_same_memory() -> nn.Module:
    module = Model(
        lambda m, x: m.c(m.b(m.a(x).tanh())),
        a=nn.Linear(4, 4),
        b=nn.Linear(4, 4),
        c=nn.Linear(4, 3),
    )
    module.b.weight.data = module.a.weight.data
    return module


def buffer_that_views() -> nn.Module:
    module = Model(lambda m, x: m.a(x) + m.last, a=nn.Linear(4, 3))
    module.register_buffer("last", module.a.weight.data[:, 3])
    return module


def attribute_that_views() -> nn.Module:
    module = Model(lambda m, x: m.a(x) + m.last, a=nn.Linear(4, 3))
    module.last = module.a.weight.data[:, 3]
    return module


def scripted() -> nn.Module:
    return Model(lambda m, x: m.a(x), a=torch.jit.script(nn.Linear(4, 3)))


LOST: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a hook": (hooked, "a.weight has a hook on its gradient"),
    "a hook after": (hooked_after, "a.weight has a hook on its gradient"),
    "memory": (in_the_same_memory, "a.weight and b.weight are two tensors in the same memory"),
    "a buffer": (buffer_that_views, "a.weight and last are two tensors in the same memory"),
    "an attribute": (attribute_that_views, "a.weight and last are two tensors in the same memory"),
}


@pytest.mark.parametrize(("build", "words"), LOST.values(), ids=LOST)
def test_what_a_copy_would_lose_is_refused(build: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(Refused, match=words):
        Replica(task_of(build()))
    with pytest.raises(InvalidArgument, match=words):
        pack(task_of(build()))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is not supported")
def test_trained_torchscript_is_refused() -> None:
    with pytest.raises(Refused, match="Module a is TorchScript"):
        Replica(task_of(scripted()))


def test_tensors_apart_in_one_memory_and_frozen_ones_are_fine() -> None:
    module = two_layers()
    flat = torch.randn(28)
    module.a.weight.data, module.b.weight.data = flat[:16].view(4, 4), flat[16:].view(3, 4)
    module.register_buffer("one", flat.clone())
    module.register_buffer("two", module.one[:3])
    assert prepare(Replica(task_of(module), torch.float64), rows()).path == "together"


def test_modules_that_cannot_be_copied_are_refused() -> None:
    with pytest.raises(Refused, match=r"weight has no shape yet: call the module once"):
        Replica(task_of(nn.LazyLinear(3)))
    module = two_layers()
    module.kept = module.a.weight * 2
    with pytest.raises(Refused, match="can't be copied"):
        Replica(task_of(module))


class Remembers(nn.Module):  # type: ignore[misc]
    """Computes something in its first forward pass, and keeps it."""

    def __init__(self, compute: Callable[["Remembers", Tensor], Tensor]) -> None:
        super().__init__()
        self.compute, self.kept = compute, None
        self.weight, self.bias = parameter(4, 3), parameter(3)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.compute(self, inputs)
        return inputs @ self.weight * self.kept + self.bias


KEPT: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "parameters": lambda module, _: module.weight.detach().sum(0),
    "parameters with their graph": lambda module, _: module.weight.sum(0) * 1.0,
    "examples": lambda _, inputs: inputs.abs().mean(),
}


@pytest.mark.parametrize("compute", KEPT.values(), ids=KEPT)
def test_numbers_of_an_earlier_pass_are_refused(compute: Any) -> None:
    torch.manual_seed(0)
    with pytest.raises(Refused, match="keeps numbers of an earlier forward pass"):
        prepare(Replica(task_of(Remembers(compute)), torch.float64), rows())


def test_a_kept_constant_is_fine() -> None:
    module = Remembers(lambda _, inputs: inputs.new_ones(3) / 2)
    assert not prepare(Replica(task_of(module), torch.float64), rows()).warnings


def test_tensors_with_gradients_that_are_no_parameters_are_told() -> None:
    module = Model(lambda m, x: m.a(x) + m.rest[0], a=nn.Linear(4, 3))
    module.rest = [nn.Parameter(torch.ones(3, dtype=torch.float64))]
    [warning] = prepare(Replica(task_of(module), torch.float64), rows()).warnings
    assert "tensors of shape [3] that are no parameters of the module" in warning
    assert not prepare(Replica(task_of(two_layers()), torch.float64), rows()).warnings


def test_a_module_with_torch_func_in_its_forward_pass_has_a_path() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        slopes = torch.func.vmap(torch.func.grad(lambda row: m.a(row).tanh().sum()))(x)
        return m.b(slopes)

    module = Model(forward, a=nn.Linear(4, 5), b=nn.Linear(4, 3))
    found = prepare(Replica(task_of(module), torch.float64), rows())
    assert found.path == "together"
    assert found.bytes_per_example > 0


def test_parameters_that_no_loss_depends_on_are_told() -> None:
    module = Model(lambda m, x: m.a(x) + 0 * m.b(x), a=nn.Linear(4, 3), b=nn.Linear(4, 3))
    [warning] = prepare(Replica(task_of(module), torch.float64), rows()).warnings
    assert warning == "No loss of these rows depends on b.bias, b.weight."
