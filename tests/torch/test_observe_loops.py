"""Loops of all kinds are observed, and nothing of a step is kept."""

import gc
import warnings
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from batchgrad.errors import InvalidArgument
from batchgrad.torch import observe
from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.replica import Batch
from tests.torch.test_observe_bits import words
from tests.torch.test_one_by_one import replica_of


@pytest.fixture
def parts() -> Any:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    inputs, targets = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    batch = Batch({"inputs": inputs, "targets": targets}, torch.ones(6, dtype=torch.float64))
    expected = one_by_one.sums(replica_of(module), batch)
    return module, inputs, targets, expected


def mean_norm(gradients: dict[str, Tensor]) -> float:
    return float(one_by_one.norm({name: own / 6 for name, own in gradients.items()}))


def test_several_backward_passes_of_one_step(parts: Any) -> None:
    module, inputs, targets, expected = parts
    observer = observe(module)
    with observer.step(ids="abcdef") as step:
        for rows in (slice(0, 3), slice(3, 6)):
            (functional.cross_entropy(module(inputs[rows]), targets[rows]) / 2).backward()
    torch.testing.assert_close(step.norms, expected.norms, rtol=1e-9, atol=0.0)
    assert step.gradient_norm == pytest.approx(mean_norm(expected.gradients), rel=1e-9)


def test_gradients_that_were_there_before_the_step(parts: Any) -> None:
    module, inputs, targets, expected = parts
    module(inputs).square().sum().backward()
    observer = observe(module)
    with observer.step() as step:
        functional.cross_entropy(module(inputs), targets).backward()
    torch.testing.assert_close(step.norms, expected.norms, rtol=1e-9, atol=0.0)
    assert step.gradient_norm == pytest.approx(mean_norm(expected.gradients), rel=1e-9)
    assert observer.uncovered == []


def test_a_graph_that_is_used_twice(parts: Any) -> None:
    module, inputs, targets, expected = parts
    observer = observe(module)
    with observer.step() as step:
        losses = functional.cross_entropy(module(inputs), targets, reduction="none")
        (0.25 * losses.mean()).backward(retain_graph=True)
        (0.75 * losses.mean()).backward()
    torch.testing.assert_close(step.norms, expected.norms, rtol=1e-9, atol=0.0)
    assert step.gradient_norm == pytest.approx(mean_norm(expected.gradients), rel=1e-9)


def test_parts_that_are_called_by_themselves(parts: Any) -> None:
    module, inputs, targets, expected = parts
    observer = observe(module)
    for _ in range(2):
        with observer.step() as step:
            hidden = module[1](module[0](inputs))
            functional.cross_entropy(module[2](hidden), targets).backward()
        torch.testing.assert_close(step.norms, expected.norms, rtol=1e-9, atol=0.0)


def test_two_passes_before_one_backward_pass(parts: Any) -> None:
    module, inputs, targets, _ = parts
    replica = replica_of(module)
    observer = observe(module)
    with observer.step() as step:
        functional.cross_entropy(module(inputs) + module(-inputs), targets).backward()
    assert step.norms is not None
    for n in range(6):
        row = inputs[n : n + 1]
        scores = replica.module(row) + replica.module(-row)
        loss = functional.cross_entropy(scores, targets[n : n + 1])
        own = torch.autograd.grad(loss, list(replica.trainable.values()))
        norm = one_by_one.norm(dict(zip(replica.trainable, own, strict=True)))
        assert float(step.norms[n]) == pytest.approx(float(norm), rel=1e-9)


def test_activation_checkpointing(parts: Any) -> None:
    module, inputs, targets, expected = parts

    class Saving(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.inner, x, use_reentrant=False)

    saving = Saving()
    with observe(saving).step() as step:
        functional.cross_entropy(saving(inputs), targets).backward()
    torch.testing.assert_close(step.norms, expected.norms, rtol=1e-9, atol=0.0)


def test_half_precision_and_a_scaler(parts: Any) -> None:
    module, inputs, targets, expected = parts
    module, inputs = module.float(), inputs.float()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    observer = observe(module, scaler=scaler)
    with observer.step() as step:
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(module(inputs), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    torch.testing.assert_close(step.norms, expected.norms, rtol=0.05, atol=0.0)
    assert step.gradient_norm == pytest.approx(mean_norm(expected.gradients), rel=0.05)
    assert observer.uncovered == []


def test_calls_that_change_are_looked_at_again() -> None:
    class Fickle(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.both = nn.Linear(3, 3), nn.Linear(3, 3), False

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) if self.both else self.a(x)

    module, inputs = Fickle(), torch.randn(4, 3)
    observer, steps = observe(module), []

    def train() -> None:
        for both in (False, True, True, False):
            module.both = both
            with observer.step() as step:
                module(inputs).square().mean().backward()
                module.zero_grad()
            steps.append(step.norms is not None)

    with pytest.warns(UserWarning, match="calls that it had not made before"):
        train()
    assert steps == [True, False, True, True]


def test_a_step_without_a_backward_pass(parts: Any) -> None:
    observer = observe(parts[0])
    step = observer.step()
    step.__enter__()
    parts[0](parts[1])
    with pytest.warns(UserWarning, match="no backward pass"):
        step.__exit__(None, None, None)
    assert step.norms is None


def test_an_error_in_a_step_leaves_no_hook(parts: Any) -> None:
    module, inputs = parts[:2]
    observer = observe(module)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shapes"), observer.step():
            module(inputs[:, :2])
    with observer.step() as step:
        module(inputs).square().mean().backward()
    assert step.norms is not None
    hooks = nn.modules.module
    assert not hooks._global_forward_pre_hooks
    assert not hooks._global_forward_hooks
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_steps_can_not_be_nested(parts: Any) -> None:
    observer = observe(parts[0])
    with observer.step():
        inner = observer.step()
        with pytest.raises(InvalidArgument, match="nested"):
            inner.__enter__()
        parts[0](parts[1]).sum().backward()


@pytest.mark.parametrize("backward", [True, False])
def test_no_result_outlives_its_step(backward: bool) -> None:
    torch.manual_seed(2)
    module, loss = words()
    observer = observe(module)
    with observer.step():
        loss().backward()
    results: list[weakref.ref[Tensor]] = []
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.LayerNorm, nn.Dropout)):
            part.register_forward_hook(lambda _, __, result: results.append(weakref.ref(result)))
    gc.collect()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if not backward else "error")
            with observer.step():
                total = loss()
                if backward:
                    total.backward()
        del total
        assert len(results) > 5
        assert all(result() is None for result in results)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reduction": "none"}, "reduction is 'none'"),
        ({"every": 0}, "every is 0"),
        ({"axis": -1}, "axis is -1"),
    ],
)
def test_wrong_options(options: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        observe(nn.Linear(2, 2), **options)


@pytest.mark.parametrize("module", [3, nn.DataParallel(nn.Linear(2, 2))])
def test_wrong_modules(module: Any) -> None:
    with pytest.raises(InvalidArgument, match="observe"):
        observe(module)
