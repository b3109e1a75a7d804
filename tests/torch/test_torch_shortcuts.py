"""Shortcuts of PyTorch modules: against networks of layers, by hand, and where they are exact."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.contract import Loss as LossName
from batchgrad.contract import Model, ShortcutName
from batchgrad.torch.networks.importing import spec_keys
from batchgrad.torch.ready.classes import classification
from batchgrad.torch.ready.values import regression
from batchgrad_engine.measurement.shortcuts import AVERAGED_ERROR, FROZEN, MEAN_EXAMPLE, Shortcuts
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import MeansLayout as NetworkMeans
from batchgrad_workers.nn.network import Network
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts import means as means_module
from batchgrad_workers.torch.shortcuts.available import available
from batchgrad_workers.torch.shortcuts.gradients import Gradient, gradients
from batchgrad_workers.torch.shortcuts.means import Means, MeansLayout
from batchgrad_workers.torch.tapping.calls import Trace
from tests.torch.zoo.case import CASES, Case
from tests.torch.zoo.everything import ALL

NAMES: tuple[ShortcutName, ...] = ("averaged_error", "mean_example")
STEADY = [case for case in ALL if case.name != "branches_by_row"]
Found = dict[ShortcutName, tuple[Gradient, Gradient]]


def means_of(replica: Replica, batch: Batch, trace: Trace) -> Means:
    flat = together.sums(replica, batch, trace, means=True).means
    assert flat is not None
    assert flat.shape == (MeansLayout(trace).size,)
    return MeansLayout(trace).means(flat, float(batch.weights.sum()))


def shortcuts(
    replica: Replica, batch: Batch, trace: Trace, names: Sequence[ShortcutName] = NAMES
) -> Found:
    means = means_of(replica, batch, trace)
    return gradients(replica, trace, means, batch.row(0), names)


def close(found: Tensor, expected: Tensor) -> None:
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("case", STEADY, ids=lambda case: case.name)
def test_shortcuts_of_equal_examples_are_exact(case: Case) -> None:
    """Nothing is lost by averaging examples that are all the same."""
    replica, batch = case.made()
    trace = together.trace(replica, batch)
    trace = Trace.from_json(json.loads(json.dumps(trace.to_json())))
    names = [name for name, reason in available(trace, replica.task).items() if reason is None]
    arrays = {name: array[3:4].expand(6, *array.shape[1:]) for name, array in batch.arrays.items()}
    same = Batch({name: array.clone() for name, array in arrays.items()}, batch.weights)
    exact = one_by_one.sums(replica, same).gradients
    found = shortcuts(replica, same, trace, names) if names else {}
    assert list(found) == names
    for frozen, shortcut in found.values():
        assert list(frozen) == list(shortcut) == list(replica.trainable)
        for name, own in exact.items():
            close(frozen[name], own / batch.weights.sum())
            close(shortcut[name], own / batch.weights.sum())


def test_most_of_the_zoo_has_shortcuts() -> None:
    found = {}
    for case in STEADY:
        replica, batch = case.made()
        trace = together.trace(replica, batch)
        found[case.name] = available(trace, replica.task)["averaged_error"]
    without = {name for name, reason in found.items() if reason}
    assert len(without) < 0.3 * len(found), without


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


def test_averaged_error_of_a_residual_by_hand() -> None:
    """As x + (ā - x).detach() at each layer of an ordinary forward pass."""
    replica, batch = CASES["nested_residuals"].made()
    trace = together.trace(replica, batch)
    outer, head = replica.module
    layers = {"0.a": outer.a, "0.inner.a": outer.inner.a, "1": head}
    means, errors = {}, {}
    share = batch.weights / batch.weights.sum()
    x = batch.arrays["inputs"]
    first = x + layers["0.a"](x).tanh()
    second = first + layers["0.inner.a"](first).relu()
    out = layers["1"](x + second)
    for name, given in (("0.a", x), ("0.inner.a", first), ("1", x + second)):
        means[name] = (share @ given).detach()[None]
    losses = replica.task.losses(out, batch.arrays)
    errors["1"] = share @ torch.autograd.grad(losses.sum(), out, retain_graph=True)[0]

    def layer(name: str, own: Tensor) -> Tensor:
        return layers[name](own + (means[name] - own).detach())

    x = x[:1]
    first = x + layer("0.a", x).tanh()
    second = first + layer("0.inner.a", first).relu()
    made = layer("1", x + second)
    parameters = list(replica.trainable.values())
    expected = torch.autograd.grad((made * errors["1"]).sum(), parameters)
    _, found = shortcuts(replica, batch, trace)["averaged_error"]
    for own, wanted in zip(found.values(), expected, strict=True):
        close(own, wanted)


def test_shortcuts_of_a_tied_embedding_by_hand() -> None:
    replica, batch = CASES["tied_embedding_and_head"].made()
    trace = together.trace(replica, batch)
    ids, share = batch.arrays["inputs"], batch.weights / batch.weights.sum()
    table, bias = replica.trainable["0.weight"], replica.trainable["2.bias"]
    rows = table[ids]
    hidden = rows.tanh()
    out = hidden @ table.T + bias
    losses = replica.task.losses(out, batch.arrays)
    above, below = (
        torch.tensordot(share, each, 1) for each in torch.autograd.grad(losses.sum(), [out, rows])
    )
    words = torch.tensordot(share, functional.one_hot(ids, 7).double(), 1)
    middle = torch.tensordot(share, hidden, 1).detach()
    back = (above @ table) * (1 - (words @ table).tanh().square())
    frozen, found = shortcuts(replica, batch, trace)["averaged_error"]
    close(frozen["0.weight"], (above.T @ middle + words.T @ below).detach())
    close(found["0.weight"], (above.T @ middle + words.T @ back).detach())
    close(found["2.bias"], above.sum(0))


def test_a_gain_takes_the_mean_of_what_it_multiplies() -> None:
    replica, batch = CASES["gain_and_shift"].made()
    trace = together.trace(replica, batch)
    share, out = batch.weights / batch.weights.sum(), replica.outputs(batch)
    errors = torch.autograd.grad(replica.task.losses(out, batch.arrays).sum(), out)[0]
    expected = (share @ errors @ replica.module.a.weight).detach() * (
        share @ batch.arrays["inputs"]
    )
    frozen, found = shortcuts(replica, batch, trace)["averaged_error"]
    close(frozen["gain"], expected)
    close(found["gain"], expected)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("bilinear_layer", ("a.weight, a.bias", None)),
        ("several_terms", (None, "mean_losses")),
        ("one_hot_product", (None, "inputs")),
    ],
)
def test_reasons_why_there_is_no_shortcut(name: str, reasons: tuple[str | None, ...]) -> None:
    replica, batch = CASES[name].made()
    found = available(together.trace(replica, batch), replica.task)
    averaged, example = (found[each] for each in NAMES)
    if reasons[0] is None:
        assert averaged is None
        assert reasons[1] is not None
        assert reasons[1] in (example or "")
    else:
        assert reasons[0] in (averaged or "")
        assert example == averaged


def test_a_call_without_a_mean_input_is_named() -> None:
    replica, batch = CASES["embedding_and_head"].made()
    trace = together.trace(replica, batch)
    calls = (replace(trace.calls[0], input_shape=None), *trace.calls[1:])
    found = available(replace(trace, calls=calls), replica.task)["averaged_error"]
    assert "0.weight: embedding of 0 has no mean input" in (found or "")


def test_too_many_numbers_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    replica, batch = CASES["perceptron"].made()
    trace = together.trace(replica, batch)
    monkeypatch.setattr("batchgrad_workers.torch.shortcuts.available.MOST_NUMBERS", 20)
    found = available(trace, replica.task)["averaged_error"]
    assert f"{MeansLayout(trace).size} numbers" in (found or "")
    assert means_module.MOST_NUMBERS > 20


def test_wrong_sums_and_names_are_refused() -> None:
    replica, batch = CASES["perceptron"].made()
    trace = together.trace(replica, batch)
    with pytest.raises(ValueError, match=r"have the shape \[3\], expected \["):
        MeansLayout(trace).means(torch.zeros(3), 1.0)
    with pytest.raises(ValueError, match="mean_of_means passes no means"):
        shortcuts(replica, batch, trace, ["mean_of_means"])
