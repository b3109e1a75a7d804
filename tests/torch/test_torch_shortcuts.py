"""Shortcuts of PyTorch modules: against networks of layers, by hand, and where they are exact."""

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.ready.classes import classification
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts import means as means_module
from batchgrad_workers.torch.shortcuts.available import available
from batchgrad_workers.torch.shortcuts.means import MeansLayout
from batchgrad_workers.torch.tapping.calls import Trace
from tests.torch.passed_means import NAMES, close, shortcuts
from tests.torch.zoo.case import CASES, Case
from tests.torch.zoo.everything import ALL

STEADY = [case for case in ALL if case.name != "branches_by_row"]


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


def test_calls_that_one_example_does_not_make_are_said() -> None:
    """Sums need no single example; shortcuts do."""

    class Counting(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            layer = self.layer
            return layer(x) if len(x) > 1 else torch.addmm(layer.bias, x, layer.weight.T)

    _, batch = CASES["one_layer"].made()
    task = classification(Counting())
    trace = together.trace(Replica(task, torch.float64), batch)
    assert trace.ends == ()
    assert "No example can stand for the means" in (available(trace, task)["averaged_error"] or "")


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
