"""Sums, norms and single gradients of whole microbatches, against one example at a time."""

import gc
import json
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica, Sums
from batchgrad_workers.torch.tapping.calls import Trace
from tests.torch.small_batches import labelled
from tests.torch.test_one_by_one import cross_entropy, replica_of
from tests.torch.zoo.case import CASES, Case
from tests.torch.zoo.everything import ALL

STEADY = [case for case in ALL if case.name != "branches_by_row"]


def assert_equal(found: Sums, expected: Sums) -> None:
    for name, own in expected.gradients.items():
        torch.testing.assert_close(found.gradients[name], own, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(found.norms, expected.norms, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", STEADY, ids=lambda case: case.name)
def test_models_of_the_zoo(case: Case) -> None:
    replica, batch = case.made()
    trace = together.trace(replica, batch)
    trace = Trace.from_json(json.loads(json.dumps(trace.to_json())))
    expected = one_by_one.sums(replica, batch)
    assert_equal(together.sums(replica, batch, trace), expected)
    found = together.each(replica, batch, trace)
    for name, own in one_by_one.each(replica, batch).items():
        torch.testing.assert_close(found[name], own, rtol=1e-9, atol=1e-13)


UNCOVERED = {
    "einsum_with_parameter": "an index that only the input has",
    "einsum_of_two_parameters": "three operands",
    "scores_of_prototypes": "cdist",
    "rows_by_gather": "take",
    "bilinear_layer": "bilinear",
    "experts_chosen_by_data": "chosen by data",
    "penalty_on_slopes": "slopes in the loss",
    "packed_sequences": "packed",
    "attention_with_trained_distances": "a mask of attention",
}
"""Models with parameters that have no formulas, and what they use."""


@pytest.mark.parametrize("case", STEADY, ids=lambda case: case.name)
def test_parameters_have_formulas(case: Case) -> None:
    replica, batch = case.made()
    assert bool(together.trace(replica, batch).uncovered) is (case.name in UNCOVERED)


def test_another_batch_size_has_the_same_trace() -> None:
    replica, batch = CASES["causal_language_model"].made()
    trace = together.trace(replica, batch)
    for n in (1, 2):
        rows = Batch({k: x[:n] for k, x in batch.arrays.items()}, batch.weights[:n])
        assert_equal(together.sums(replica, rows, trace), one_by_one.sums(replica, rows))


class Fickle(nn.Module):  # type: ignore[misc]
    """Uses its second layer only when told."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.both = nn.Linear(5, 5), nn.Linear(5, 3), True

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x) if self.both else x


@pytest.fixture
def fickle() -> Replica:
    torch.manual_seed(1)
    return replica_of(Fickle())


@pytest.fixture
def batch() -> Batch:
    return labelled()


@pytest.mark.parametrize("at_first", [True, False])
def test_other_calls_than_traced_are_refused(fickle: Replica, batch: Batch, at_first: bool) -> None:
    fickle.module.both = at_first
    trace = together.trace(fickle, batch)
    fickle.module.both = not at_first
    with pytest.raises(OtherCalls, match="linear"):
        together.sums(fickle, batch, trace)


def test_another_parameter_in_a_traced_call_is_refused(batch: Batch) -> None:
    class Choosing(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(5, 3), nn.Linear(5, 3)])
            self.chosen = 0

        def forward(self, x: Tensor) -> Tensor:
            return self.layers[self.chosen](x)

    replica = replica_of(Choosing())
    trace = together.trace(replica, batch)
    replica.module.chosen = 1
    with pytest.raises(OtherCalls, match=r"has layers\.1\.weight as its weight"):
        together.sums(replica, batch, trace)


def test_an_input_changed_in_place_is_refused(batch: Batch) -> None:
    class Changing(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = x.clone()
            found = self.layer(x)
            x.zero_()
            return found

    with pytest.raises(RuntimeError, match=r"modified by an inplace|changed in place"):
        together.trace(replica_of(Changing()), batch)


def test_a_trace_leaves_the_parameters_as_they_are(fickle: Replica, batch: Batch) -> None:
    before = {name: each.detach().clone() for name, each in fickle.trainable.items()}
    together.trace(fickle, batch)
    assert all(torch.equal(each, before[name]) for name, each in fickle.trainable.items())


def test_a_trace_of_one_example_is_refused(fickle: Replica, batch: Batch) -> None:
    with pytest.raises(ValueError, match="two examples"):
        together.trace(fickle, batch.row(0))


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Box:
    """A tensor that a graph saved: it lives as long as the graph."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@pytest.mark.parametrize(
    "name",
    ["causal_language_model", "tied_embedding_and_head", "low_rank_update_of_a_frozen_weight"],
)
def test_no_graph_outlives_its_pass(name: str, without_collector: None) -> None:
    replica, batch = CASES[name].made()
    trace = together.trace(replica, batch)
    boxes: list[weakref.ref[Box]] = []

    def pack(tensor: Tensor) -> Box:
        box = Box(tensor)
        boxes.append(weakref.ref(box))
        return box

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        together.sums(replica, batch, trace, means=True)
    assert boxes
    assert all(box() is None for box in boxes)


def test_bits_are_the_same_on_any_thread() -> None:
    replica, batch = CASES["causal_language_model"].made()
    trace = together.trace(replica, batch)
    replicas = [CASES["causal_language_model"].made()[0] for _ in range(4)]
    first = together.sums(replica, batch, trace, means=True)

    def again(own: Replica) -> Sums:
        torch.set_num_threads(1)
        return together.sums(own, batch, trace, means=True)

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(again, replicas):
            assert torch.equal(found.norms, first.norms)
            assert all(torch.equal(found.gradients[k], g) for k, g in first.gradients.items())
            assert found.means is not None
            assert first.means is not None
            assert torch.equal(found.means, first.means)


def test_means_are_laid_out_by_the_calls(batch: Batch) -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    replica = replica_of(module)
    trace = together.trace(replica, batch)
    found = together.sums(replica, batch, trace, means=True).means
    x, w = batch.arrays["inputs"], batch.weights
    h = replica.module[0](x).requires_grad_()
    h.retain_grad()
    a = torch.tanh(h)
    out = replica.module[2](a)
    out.retain_grad()
    cross_entropy(out, batch.arrays).sum().backward()
    assert h.grad is not None
    assert out.grad is not None
    expected = torch.cat([w @ x, w @ h.grad, w @ a, w @ out.grad])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    shapes = [(call.input_shape, call.output_shape) for call in trace.calls]
    assert shapes == [((1, 5), (1, 4)), ((1, 4), (1, 3))]


def test_units_at_the_edge_of_a_relu_do_not_spoil_a_trace_in_float32() -> None:
    torch.manual_seed(1)  # a number at which, on one CPU at least, some unit is at the edge
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU()]
    layers += [nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    replica = Replica(replica_of(nn.Sequential(*layers, nn.Linear(16, 3))).task)
    targets = torch.arange(4) % 3
    images = Batch({"inputs": torch.randn(4, 3, 32, 32), "targets": targets}, torch.ones(4))
    assert together.trace(replica, images).uncovered == ()


def test_a_trace_of_a_module_that_makes_numbers_in_float32() -> None:
    class Single(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.float() @ torch.eye(5))

    replica = Replica(replica_of(Single()).task)
    rows = Batch({"inputs": torch.randn(4, 5), "targets": torch.arange(4) % 3}, torch.ones(4))
    assert together.trace(replica, rows).uncovered == ()
