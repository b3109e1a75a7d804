"""Shortcuts of PyTorch modules against those of networks of layers."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.contract import Loss as LossName
from batchgrad.contract import Model
from batchgrad.torch.networks.importing import spec_keys
from batchgrad.torch.ready.classes import classification
from batchgrad.torch.ready.values import regression
from batchgrad_engine.measurement.shortcuts import AVERAGED_ERROR, FROZEN, MEAN_EXAMPLE, Shortcuts
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import MeansLayout as NetworkMeans
from batchgrad_workers.nn.network import Network
from batchgrad_workers.torch import together
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts.available import available
from batchgrad_workers.torch.shortcuts.gradients import Gradient
from tests.torch.passed_means import NAMES, close, shortcuts

IMAGE, VECTOR = (2, 6, 6), (5,)
NETWORKS: dict[str, tuple[tuple[int, ...], list[nn.Module]]] = {
    "linear": (VECTOR, [nn.Linear(5, 3)]),
    "perceptron": (VECTOR, [nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.GELU()]),
    "time": ((4, 5), [nn.Linear(5, 6), nn.Tanh(), nn.Flatten()]),
    "convolutions": (
        IMAGE,
        [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten()],
    ),
    "pooled": (
        IMAGE,
        [nn.Conv2d(2, 4, 3, groups=2), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 4)],
    ),
    "words": ((4,), [nn.Embedding(7, 3, padding_idx=2), nn.Tanh(), nn.Flatten()]),
    "norms": (VECTOR, [nn.Linear(5, 6), nn.LayerNorm(6), nn.Linear(6, 4), nn.Tanh()]),
}
INEXACT: dict[str, tuple[tuple[int, ...], list[nn.Module]]] = {
    "norm before a unit": (VECTOR, [nn.Linear(5, 6), nn.LayerNorm(6), nn.Tanh()]),
    "maximum": (IMAGE, [nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.Tanh(), nn.Flatten()]),
    "groups": (IMAGE, [nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten()]),
}
"""Between calls the made-up example is an ordinary one: there the networks' is exact."""


def problem(name: str, loss: LossName) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A module ending in three outputs, inputs, targets and weights."""
    shape, modules = (NETWORKS | INEXACT)[name]
    torch.manual_seed(3)
    module = nn.Sequential(*modules).double()
    inputs = torch.randn(7, *shape, dtype=torch.float64)
    if name == "words":
        inputs = torch.randint(0, 7, (7, *shape))
    width = module(inputs).shape[1]
    module = nn.Sequential(*modules, nn.Linear(width, 3)).double()
    if name == "perceptron":
        module = nn.Sequential(*module, nn.Tanh())
    for parameter in module.parameters():
        parameter.data = parameter.data + 0.1 * torch.randn_like(parameter)
    targets = torch.randn(7, 3, dtype=torch.float64)
    if loss == "softmax_cross_entropy":
        targets = functional.one_hot(torch.randint(0, 3, (7,)), 3).double()
    return module, inputs, targets, torch.rand(7, dtype=torch.float64) + 0.5


def of_network(
    module: nn.Module, inputs: Tensor, targets: Tensor, weights: Tensor, loss: LossName
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """F, averaged_error and mean_example by the engine of networks of layers, and Σ w_n g_n."""
    model = Model.model_validate(spec_keys(module)["model"])
    network = Network(model, tuple(inputs.shape[1:]))
    values = dict(module.named_parameters())
    theta = np.concatenate([values[s.name].detach().numpy().ravel() for s in network.slices])
    layout = NetworkMeans(network)
    differentiator = Differentiator(network, LOSSES[loss], layout, with_microbatch_means=False)
    batch = Microbatch(inputs.numpy(), targets.numpy(), weights.numpy())
    sums, _, _ = differentiator.sums(network.views(theta), batch)
    reference = Shortcuts(network, LOSSES[loss])
    rows = reference.rows(theta[None], layout.means(sums.means[None], float(weights.sum())))
    found = [reference.gradient(rows, place) for place in (FROZEN, AVERAGED_ERROR, MEAN_EXAMPLE)]
    named = [
        {
            s.name: torch.tensor(flat[s.start : s.start + s.size]).view(s.shape)
            for s in network.slices
        }
        for flat in (*found, sums.gradient)
    ]
    return named[:3], named[3]


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
@pytest.mark.parametrize("name", [*NETWORKS, *INEXACT])
def test_shortcuts_are_those_of_networks_of_layers(name: str, loss: LossName) -> None:
    module, inputs, targets, weights = problem(name, loss)
    (frozen, averaged, example), exact = of_network(module, inputs, targets, weights, loss)
    if loss == "softmax_cross_entropy":
        task, arrays = classification(module), {"inputs": inputs, "targets": targets.argmax(1)}
    else:
        task, arrays = regression(module), {"inputs": inputs, "targets": targets}
    replica, batch = Replica(task, torch.float64), Batch(arrays, weights)
    trace = together.trace(replica, batch)
    assert available(trace, task) == dict.fromkeys(NAMES)
    found = shortcuts(replica, batch, trace)
    sums = together.sums(replica, batch, trace).gradients
    for key in exact:
        close(sums[key], exact[key])
        close(found["averaged_error"][0][key], frozen[key])
        close(found["mean_example"][0][key], frozen[key])
        close(found["mean_example"][1][key], example[key])
    _, shortcut = found["averaged_error"]
    if name in NETWORKS:
        for key in exact:
            close(shortcut[key], averaged[key])
    else:
        assert distance(shortcut, averaged) > 1e-3
    assert distance(averaged, frozen) > 1e-3 or name == "linear"


def distance(one: Gradient, other: Gradient) -> float:
    return float(sum((one[key] - other[key]).square().sum() for key in one)) ** 0.5
