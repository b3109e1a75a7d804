"""Ready tasks: losses by example against loops of PyTorch's own losses, and what is refused."""

import copy
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.errors import InvalidArgument
from batchgrad.torch import classification, regression, task
from tests.torch.small_batches import CLASSES, WIDTH, N, arrays, linear, losses


@pytest.fixture
def module() -> nn.Module:
    return linear()


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return arrays()


def each(
    module: nn.Module, batch: dict[str, Tensor], loss: Callable[..., Tensor], name: str
) -> Tensor:
    """The loss of each example, from a batch of one: the reference."""
    found = [
        loss(module(batch["inputs"][n : n + 1].double()), batch[name][n : n + 1]) for n in range(N)
    ]
    return torch.stack(found)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_classification_is_cross_entropy(
    module: nn.Module, batch: dict[str, Tensor], smoothing: float
) -> None:
    reference = nn.CrossEntropyLoss(label_smoothing=smoothing)
    made = classification(module, label_smoothing=smoothing)
    expected = each(module, batch, reference, "targets")
    torch.testing.assert_close(losses(made, batch), expected, rtol=1e-12, atol=0)
    small = {**batch, "targets": batch["targets"].to(torch.uint8)}
    assert torch.equal(losses(made, small), losses(made, batch))
    outputs = made.outputs(module, batch)
    assert made.correct is not None
    right = [float(outputs[n].argmax() == batch["targets"][n]) for n in range(N)]
    assert made.correct(outputs, batch).tolist() == right
    assert 0 < sum(right) < N


def test_classification_takes_probabilities(module: nn.Module, batch: dict[str, Tensor]) -> None:
    wanted = batch["shares"] / batch["shares"].sum(1, keepdim=True)
    batch["targets"] = wanted
    made = classification(module)
    expected = each(module, batch, functional.cross_entropy, "targets")
    torch.testing.assert_close(losses(made, batch), expected, rtol=1e-12, atol=0)
    assert made.correct is not None
    right = made.correct(made.outputs(module, batch), batch)
    assert (
        right.tolist() == (module(batch["inputs"].double()).argmax(1) == wanted.argmax(1)).tolist()
    )


PLAIN = {
    "squared_error": lambda f, y: ((f - y) ** 2).sum(),
    "absolute_error": lambda f, y: (f - y).abs().sum(),
    "huber": lambda f, y: functional.huber_loss(f, y, reduction="sum"),
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "mae": functional.l1_loss,
    "smooth_l1": functional.smooth_l1_loss,
    "huber_loss": functional.huber_loss,
}


@pytest.mark.parametrize("name", PLAIN)
def test_losses_of_numbers_by_name(module: nn.Module, batch: dict[str, Tensor], name: str) -> None:
    expected = each(module, batch, PLAIN[name], "values")
    found = losses(task(module, name, targets="values"), batch)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "reduction"), [("bce_with_logits", "mean"), ("sigmoid_cross_entropy", "sum")]
)
def test_losses_of_probabilities(
    module: nn.Module, batch: dict[str, Tensor], name: str, reduction: str
) -> None:
    reference = nn.BCEWithLogitsLoss(reduction=reduction)
    made = task(module, name, targets="shares")
    expected = each(module, batch, reference, "shares")
    torch.testing.assert_close(losses(made, batch), expected, rtol=1e-12, atol=0)
    outputs = made.outputs(module, batch)
    assert made.correct is not None
    right = ((outputs > 0) == (batch["shares"] > 0.5)).all(1)
    assert made.correct(outputs, batch).tolist() == right.tolist()


LOSSES_OF_TORCH: list[tuple[nn.Module, str]] = [
    (nn.CrossEntropyLoss(label_smoothing=0.1), "targets"),
    (nn.CrossEntropyLoss(reduction="sum", weight=torch.tensor([1.0, 2, 3]).double()), "targets"),
    (nn.MSELoss(), "values"),
    (nn.HuberLoss(delta=0.3), "values"),
    (nn.L1Loss(reduction="sum"), "values"),
    (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2, 3]).double()), "shares"),
    (nn.MultiMarginLoss(), "targets"),
]


@pytest.mark.parametrize(("loss", "name"), LOSSES_OF_TORCH)
def test_losses_of_torch_reduce_each_example(
    module: nn.Module, batch: dict[str, Tensor], loss: nn.Module, name: str
) -> None:
    found = losses(task(module, loss, targets=name), batch)
    torch.testing.assert_close(found, each(module, batch, loss, name), rtol=1e-12, atol=0)
    assert loss.reduction != "none"  # the user's own one is left alone


def test_targets_in_a_row_go_with_outputs_in_a_column(batch: dict[str, Tensor]) -> None:
    module = nn.Linear(WIDTH, 1).double()
    column = {**batch, "targets": batch["values"][:, :1]}
    row = {**batch, "targets": batch["values"][:, 0]}
    made = regression(module)
    expected = (module(batch["inputs"].double()) - column["targets"]).square().sum(1)
    assert torch.equal(losses(made, row), expected)
    assert torch.equal(losses(made, column), expected)
    assert torch.equal(losses(task(module, nn.MSELoss()), row), expected)


def test_the_mean_of_targets_has_a_loss(module: nn.Module, batch: dict[str, Tensor]) -> None:
    for made, name in [
        (classification(module, label_smoothing=0.1), "targets"),
        (regression(module, targets="values"), "values"),
    ]:
        assert made.targets is not None
        assert made.mean_losses is not None
        targets = made.targets(batch)
        outputs = made.outputs(module, batch)
        one = targets if name == "values" else functional.one_hot(targets, CLASSES).double()
        torch.testing.assert_close(
            made.mean_losses(outputs[:1], one[:1]), losses(made, batch)[:1], rtol=1e-12, atol=0
        )


class Pair(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, inputs: Tensor, gate: Tensor | None = None, *, codes: Tensor) -> Tensor:
        assert codes.dtype == torch.int64
        assert inputs.dtype == torch.float32
        return self.head(inputs) * (1 if gate is None else gate) + codes.unsqueeze(1)


def test_arrays_go_to_the_parameters_of_their_names(batch: dict[str, Tensor]) -> None:
    module = Pair()
    codes = torch.arange(N, dtype=torch.int16)
    arrays = {**batch, "codes": codes, "gate": torch.full((N, 1), 2.0, dtype=torch.float64)}
    found = classification(module).outputs(module, arrays)
    assert torch.equal(found, module.head(batch["inputs"]) * 2 + codes.unsqueeze(1))
    without = {name: array for name, array in arrays.items() if name != "gate"}
    found = classification(module).outputs(module, without)
    assert torch.equal(found, module.head(batch["inputs"]) + codes.unsqueeze(1))


class Answer(NamedTuple):
    logits: Tensor
    loss: float = 0.0


class Returning(nn.Module):  # type: ignore[misc]
    """Wraps a module, as libraries do: with any arguments."""

    def __init__(self, inner: nn.Module, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.made = inner, made

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.made(self.inner(*args, **kwargs))


@pytest.mark.parametrize(
    "made",
    [
        Answer,
        lambda logits: {"hidden": logits * 2, "logits": logits},
        lambda logits: {"answer": logits, "name": "x"},
        lambda logits: (logits, None),
        lambda logits: [logits],
    ],
)
def test_what_a_module_returns_holds_logits(
    batch: dict[str, Tensor], made: Callable[[Tensor], Any]
) -> None:
    inner = Pair()
    arrays = {"inputs": batch["inputs"], "codes": torch.arange(N), "targets": batch["targets"]}
    outer = Returning(inner, made)
    found = classification(outer).outputs(outer, arrays)
    assert torch.equal(found, inner(batch["inputs"], codes=torch.arange(N)))


@pytest.mark.parametrize("made", [lambda f: {"a": f, "b": f}, lambda _: "no", lambda _: ()])
def test_other_returns_are_refused(batch: dict[str, Tensor], made: Callable[[Tensor], Any]) -> None:
    outer = Returning(Pair(), made)
    arrays = {"inputs": batch["inputs"], "codes": torch.arange(N), "targets": batch["targets"]}
    with pytest.raises(InvalidArgument, match="expected a tensor, an object with logits"):
        classification(outer).outputs(outer, arrays)


def test_tasks_can_be_copied_and_pickled(module: nn.Module, batch: dict[str, Tensor]) -> None:
    for loss, name in [("cross_entropy", "targets"), ("mse", "values"), (nn.L1Loss(), "values")]:
        made = task(module, loss, targets=name)
        for other in [pickle.loads(pickle.dumps(made)), copy.deepcopy(made)]:  # noqa: S301
            assert torch.equal(losses(other, batch), losses(made, batch))


def test_a_function_of_each_example_is_a_loss(module: nn.Module, batch: dict[str, Tensor]) -> None:
    made = task(module, lambda f, y: (f - y).pow(4).sum(1), targets="values")
    expected = (module(batch["inputs"].double()) - batch["values"]).pow(4).sum(1)
    assert torch.equal(losses(made, batch), expected)
