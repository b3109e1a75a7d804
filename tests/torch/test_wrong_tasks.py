"""Ready tasks that are refused: wrong losses, arguments and arrays, with the remedy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.errors import InvalidArgument
from batchgrad.torch import classification, regression, task, token_classification
from tests.torch.small_batches import CLASSES, arrays, linear, losses


@pytest.fixture
def module() -> nn.Module:
    return linear()


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return arrays()


def averaged(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets)


REFUSED: list[tuple[Any, str]] = [
    ("croos_entropy", "did you mean cross_entropy?"),
    ("hinge", "expected one of softmax_cross_entropy"),
    (nn.MSELoss, r"loss is the class MSELoss; expected MSELoss\(\)"),
    (nn.CrossEntropyLoss(weight=torch.ones(3)), "push the dataset with weights"),
    (nn.CrossEntropyLoss(ignore_index=0), "use token_classification"),
    (nn.Linear(2, 2), "has parameters"),
    (7, "loss is 7; expected a name"),
]


@pytest.mark.parametrize(("loss", "message"), REFUSED)
def test_wrong_losses_are_refused(module: nn.Module, loss: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        task(module, loss)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (averaged, r"a tensor of shape \[\] for 5 examples; .*reduction='none'"),
        (lambda f, y: f * y.unsqueeze(1), r"shape \[5, 3\].*sum or average over the outputs"),
        (lambda *_: 1.0, r"a float for 5 examples"),
    ],
)
def test_a_function_must_give_a_loss_for_each_example(
    module: nn.Module, batch: dict[str, Tensor], loss: Any, message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        losses(task(module, loss), batch)


WRONG_ARRAYS: list[tuple[Any, Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = [
    (
        classification,
        lambda b: {"inputs": b["inputs"]},
        "no array 'targets'; its arrays are inputs",
    ),
    (classification, lambda b: {"targets": b["targets"]}, "no array 'inputs'"),
    (classification, lambda b: {**b, "targets": b["values"][:, :2]}, "probabilities"),
    (classification, lambda b: {**b, "targets": b["values"][:, 0]}, "expected classes as integers"),
    (
        regression,
        lambda b: {**b, "targets": b["values"][:, 0]},
        r"shape \[5, 3\], targets has \[5\]",
    ),
    (regression, lambda b: {**b, "targets": b["values"][:, :1]}, "a number for each output"),
]


@pytest.mark.parametrize(("made", "change", "message"), WRONG_ARRAYS)
def test_wrong_arrays_are_named(
    module: nn.Module, batch: dict[str, Tensor], made: Any, change: Any, message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        losses(made(module), change(batch))


def test_a_class_without_an_output_is_told(module: nn.Module, batch: dict[str, Tensor]) -> None:
    batch["targets"][2] = CLASSES + 4
    message = "targets has a class without an output: Target 7 .* 3 outputs, for the classes 0 to 2"
    with pytest.raises(InvalidArgument, match=message):
        losses(classification(module), batch)
    tokens = token_classification(nn.Embedding(9, CLASSES), inputs="inputs", labels="labels")
    given = {"inputs": torch.arange(8).reshape(2, 4), "labels": torch.full((2, 4), CLASSES)}
    with pytest.raises(InvalidArgument, match="labels has a class without an output: Target 3 "):
        losses(tokens, given)


def test_wrong_arguments_are_refused(module: nn.Module) -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: classification(nn.Linear), r"the class Linear; expected a module: Linear\("),
        (lambda: classification("x"), "module is a str"),
        (lambda: classification(module, "weights"), "inputs is 'weights'"),
        (lambda: classification(module, label_smoothing=1), "label_smoothing is 1"),
        (lambda: regression(module, loss="cube"), "loss is 'cube'; expected one of squared_error"),  # type: ignore[arg-type]
        (lambda: regression(module, reduction="max"), "expected one of sum, mean"),  # type: ignore[arg-type]
    ]
    for call, message in wrong:
        with pytest.raises(InvalidArgument, match=message):
            call()
