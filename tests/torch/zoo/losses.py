"""Cases of losses, of batches with several arrays, and of modules that give no plain tensor."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from tests.torch.zoo.case import (
    Arrays,
    Built,
    Model,
    case,
    classes,
    cross_entropy,
    floats,
    numbers,
    task_of,
    whole,
)


def perceptron(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs))


@case
def several_arrays() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        h = m.a(batch["left"]) * m.words(batch["right"]).mean(1)
        return m.head(h + batch["scale"][:, None])

    model = Model(a=nn.Linear(4, 5), words=nn.Embedding(6, 5), head=nn.Linear(5, 3))
    arrays = {"left": floats(4), "right": whole(6, 3), "scale": floats(), "targets": whole(3)}
    return Task(model, outputs, cross_entropy), arrays


@case
def several_terms() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        h = m.trunk(batch["inputs"]).tanh()
        return torch.cat([m.classes(h), m.number(h), h], 1)

    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        distance = (outputs[:, 3] - batch["numbers"]).abs()
        size = outputs[:, 4:].square().sum(1)
        return cross_entropy(outputs[:, :3], batch) + 0.3 * distance + 0.01 * size

    model = Model(trunk=nn.Linear(4, 5), classes=nn.Linear(5, 3), number=nn.Linear(5, 1))
    arrays = {"inputs": floats(4), "numbers": floats(), "targets": whole(3)}
    return Task(model, outputs, losses), arrays


@case
def classes_ignored() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        return functional.cross_entropy(outputs, batch["targets"], ignore_index=1, reduction="none")

    task, arrays = classes(perceptron(3), floats(4), losses)
    arrays["targets"] = torch.tensor([0, 1, 2, 1, 0, 2])
    return task, arrays


@case
def smoothed_labels() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        share = torch.tensor([0.5, 1.0, 2.0], dtype=outputs.dtype)
        return functional.cross_entropy(
            outputs, batch["targets"], weight=share, label_smoothing=0.1, reduction="none"
        )

    return classes(perceptron(3), floats(4), losses)


@case
def probabilities_as_targets() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        each = functional.kl_div(outputs.log_softmax(1), batch["targets"], reduction="none")
        return each.sum(1)

    return task_of(perceptron(3), losses), {"inputs": floats(4), "targets": floats(3).softmax(1)}


@case
def several_labels() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        targets = batch["targets"].double()
        return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(
            1
        )

    return task_of(perceptron(4), losses), {"inputs": floats(4), "targets": whole(2, 4)}


@case
def squared_errors() -> Built:
    return numbers(perceptron(2), floats(4), 2)


@case
def mean_and_variance() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        mean, variance = outputs[:, 0], functional.softplus(outputs[:, 1])
        return functional.gaussian_nll_loss(mean, batch["targets"], variance, reduction="none")

    return task_of(perceptron(2), losses), {"inputs": floats(4), "targets": floats()}


@case
def distances_to_a_second_view() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        return torch.stack([m(batch["inputs"]), m(batch["others"])], 1)

    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        return 1 - functional.cosine_similarity(outputs[:, 0], outputs[:, 1])

    return Task(perceptron(3), outputs, losses), {"inputs": floats(4), "others": floats(4)}


@case
def module_that_gives_a_dictionary() -> Built:
    model = Model(lambda m, x: {"scores": m.inner(x), "inputs": x}, inner=perceptron(3))
    task = Task(model, lambda module, batch: module(batch["inputs"])["scores"], cross_entropy)
    return task, {"inputs": floats(4), "targets": whole(3)}


@case
def module_that_takes_a_dictionary() -> Built:
    model = Model(lambda m, batch: m.inner(batch["inputs"]), inner=perceptron(3))
    task = Task(model, lambda module, batch: module(batch), cross_entropy)
    return task, {"inputs": floats(4), "targets": whole(3)}


@case
def inputs_in_single_precision() -> Built:
    model = Model(lambda m, x: m.inner(x.double()), inner=perceptron(3))
    return classes(model, floats(4).float())


@case
def penalty_on_slopes() -> Built:
    """The loss holds derivatives by the inputs: each gradient is one of second order."""

    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        x = batch["inputs"].detach().requires_grad_()
        scores = m(x)
        (slopes,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return torch.cat([scores, slopes], 1)

    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        return cross_entropy(outputs[:, :3], batch) + 0.1 * outputs[:, 3:].square().sum(1)

    return Task(perceptron(3), outputs, losses), {"inputs": floats(4), "targets": whole(3)}


@case
def loss_without_gradient_at_times() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        return functional.relu(cross_entropy(outputs, batch) - 1.0)

    return classes(perceptron(3), floats(4), losses)
