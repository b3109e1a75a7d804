"""Figures of an observed loop, against gradients of one example at a time."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.contract import EXAMPLE_NORM_BOUNDS
from batchgrad.errors import InvalidArgument
from batchgrad.torch import observe
from batchgrad.torch.observing.observer import Observer
from batchgrad.torch.observing.step import Step
from batchgrad_engine.measurement import statistics
from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.replica import Batch, Replica
from tests.torch.test_one_by_one import replica_of
from tests.torch.zoo.case import CASES
from tests.torch.zoo.everything import ALL
from tests.torch.zoo.mixing import MIXING

UNSEEN = {
    "branches_by_row",  # no number of examples makes the calls of another
    *("packed_sequences", "penalty_on_slopes"),
}
NO_FORMULAS = "no parameter has uses with formulas"
COVERED_LEAST = 110


def losses_of(replica: Replica, batch: Batch) -> Tensor:
    """ℓ_n by the user's own calls."""
    outputs = replica.task.outputs(replica.module, batch.arrays)
    return replica.task.losses(outputs, batch.arrays)


def observed(replica: Replica, batch: Batch, **options: Any) -> tuple[Observer, Step]:
    """One step on the mean loss."""
    observer = observe(replica.module, **options)
    with observer.step(ids=range(len(batch))) as step:
        losses_of(replica, batch).mean().backward()
    return observer, step


@pytest.mark.filterwarnings("ignore:Norms, noise scale and gradient norm leave out")
@pytest.mark.filterwarnings("ignore:Step 1 has no figures. no parameter has uses")
@pytest.mark.parametrize(
    "case",
    [case for case in ALL if case.name not in UNSEEN],
    ids=lambda case: case.name,
)
def test_norms_of_the_zoo(case: Any) -> None:
    replica, batch = case.made()
    each = one_by_one.each(replica, batch)
    observer, step = observed(replica, batch)
    if step.norms is None:
        assert step.missing == NO_FORMULAS
        assert set(observer.uncovered) == set(replica.trainable)
        return
    covered = {name: rows for name, rows in each.items() if name not in observer.uncovered}
    assert covered
    expected = [one_by_one.norm({k: g[n] for k, g in covered.items()}) for n in range(len(batch))]
    torch.testing.assert_close(step.norms, torch.stack(expected), rtol=1e-9, atol=1e-14)
    mean = one_by_one.norm({name: rows.mean(0) for name, rows in covered.items()})
    assert step.gradient_norm == pytest.approx(float(mean), rel=1e-9, abs=1e-14)


@pytest.mark.filterwarnings("ignore:Norms, noise scale and gradient norm leave out")
@pytest.mark.filterwarnings("ignore:Step 1 has no figures. no parameter has uses")
def test_most_models_are_covered_whole() -> None:
    cases = [case for case in ALL if case.name not in UNSEEN]
    whole = [case.name for case in cases if not observed(*case.made())[0].uncovered]
    assert len(whole) >= COVERED_LEAST


class Doubled(torch.autograd.Function):  # type: ignore[misc]
    """Twice a parameter times the input, as no call of torch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return 2 * x * weight

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return 2 * errors[0] * weight, (2 * errors[0] * x).sum(0)


def test_a_model_without_formulas_has_no_norms() -> None:
    class Doubling(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return Doubled.apply(x, self.weight)

    module = Doubling()
    observer = observe(module)
    step = observer.step()
    step.__enter__()
    module(torch.randn(6, 4)).square().mean().backward()
    with pytest.warns(UserWarning, match=NO_FORMULAS):
        step.__exit__(None, None, None)
    assert step.norms is None
    assert observer.uncovered == ["weight"]


@pytest.mark.parametrize("name", ["batch_norm", "centred", "softmax_over_examples"])
def test_models_that_mix_examples_are_refused(name: str) -> None:
    replica, batch = MIXING[name].made()
    with pytest.raises(InvalidArgument, match="mixes the examples"):
        observed(replica, batch)


def test_a_batch_norm_is_named_before_training_begins() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with pytest.raises(InvalidArgument, match=r"^1: BatchNorm in training mode"):
        observe(module)
    observe(module.eval())


def test_the_part_that_mixes_is_named() -> None:
    class Centre(nn.Module):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0)

    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), Centre(), nn.Linear(4, 3))
    observer = observe(module)
    with pytest.raises(InvalidArgument, match=r"^2 \(Centre\) mixes"), observer.step():
        module(torch.randn(6, 5)).sum().backward()


def test_an_lstm_is_left_out_and_named_once() -> None:
    replica, batch = CASES["words_and_lstm"].made()
    observer = observe(replica.module)

    def train() -> None:
        for _ in range(2):
            with observer.step():
                losses_of(replica, batch).mean().backward()

    with pytest.warns(UserWarning, match=r"leave out .*inner\.weight_hh_l0") as told:
        train()
    assert len(told) == 1
    assert any(name.endswith("weight_hh_l0") for name in observer.uncovered)
    assert not any(name.startswith("words") for name in observer.uncovered)


def test_a_use_outside_of_the_forward_pass_is_left_out() -> None:
    module = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 4)).double()
    ids, targets = torch.tensor([1, 2, 3]), torch.tensor([2, 3, 4])
    observer = observe(module)

    def train() -> Step:
        with observer.step() as step:
            scores = functional.linear(module(ids), module[0].weight)
            functional.cross_entropy(scores, targets).backward()
        return step

    with pytest.warns(UserWarning, match=r"0\.weight"):
        step = train()
    assert observer.uncovered == ["0.weight"]
    layer = module[1]
    assert step.gradient_norm == pytest.approx(
        float(one_by_one.norm({"w": layer.weight.grad, "b": layer.bias.grad})), rel=1e-12
    )


@pytest.fixture
def small() -> tuple[Replica, Batch]:
    torch.manual_seed(1)
    replica = replica_of(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)))
    inputs = torch.randn(6, 5, dtype=torch.float64)
    batch = {"inputs": inputs, "targets": torch.tensor([0, 0, 0, 0, 0, 2])}
    return replica, Batch(batch, torch.ones(6, dtype=torch.float64))


def test_figures_are_those_of_a_service(small: tuple[Replica, Batch]) -> None:
    replica, batch = small
    smoothed = statistics.SmoothedNoise()
    observer = observe(replica.module)
    optimizer = torch.optim.SGD(replica.module.parameters(), 0.1)
    for _ in range(3):
        found = one_by_one.sums(replica, batch)
        norms = found.norms.numpy()
        length = float(one_by_one.norm({k: g / 6 for k, g in found.gradients.items()}))
        with observer.step() as step:
            losses_of(replica, batch).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        noise = statistics.noise_scale(norms, batch.weights.numpy(), length)
        test = statistics.norm_test(noise.trace, 6, length)
        assert step.noise_trace == pytest.approx(noise.trace, rel=1e-9)
        assert step.noise_signal == pytest.approx(noise.signal, rel=1e-9)
        whole = smoothed.add(noise)
        assert whole.simple is not None
        assert step.noise_scale == pytest.approx(whole.simple, rel=1e-9)
        assert step.norm_test_ratio == pytest.approx(test["ratio"], rel=1e-9)
        assert step.norm_test_batch_size == pytest.approx(test["batch_size"], rel=1e-9)
        assert step.quantiles["max"] == pytest.approx(norms.max(), rel=1e-9)
        assert step.quantiles["p50"] == pytest.approx(float(found.norms.quantile(0.5)), rel=1e-9)
        assert sum(step.histogram) == 6
        assert len(step.histogram) == len(EXAMPLE_NORM_BOUNDS) + 1
    assert [row["step"] for row in observer.history] == [1, 2, 3]
    assert observer.history[-1]["noise_scale"] == step.noise_scale


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weights(small: tuple[Replica, Batch], reduction: Any) -> None:
    replica, batch = small
    weights = torch.tensor([1.0, 0.5, 2.0, 0.0, 1.5, 0.25], dtype=torch.float64)
    expected = one_by_one.sums(replica, Batch(batch.arrays, weights))
    observer = observe(replica.module, reduction=reduction)
    with observer.step(weights=weights) as step:
        total = (weights * losses_of(replica, batch)).sum()
        (total / weights.sum() if reduction == "mean" else total).backward()
    assert step.norms is not None
    assert math.isnan(step.norms[3])
    kept = weights > 0
    torch.testing.assert_close(step.norms[kept], expected.norms[kept], rtol=1e-9, atol=0.0)
    mean = {name: own / weights.sum() for name, own in expected.gradients.items()}
    assert step.gradient_norm == pytest.approx(float(one_by_one.norm(mean)), rel=1e-9)
    assert step.noise_scale is None
    assert sum(step.histogram) == 5


def test_a_sum_of_losses(small: tuple[Replica, Batch]) -> None:
    replica, batch = small
    expected = one_by_one.sums(replica, batch)
    observer = observe(replica.module, reduction="sum")
    with observer.step() as step:
        losses_of(replica, batch).sum().backward()
    torch.testing.assert_close(step.norms, expected.norms, rtol=1e-9, atol=0.0)
    mean = {name: own / 6 for name, own in expected.gradients.items()}
    assert step.gradient_norm == pytest.approx(float(one_by_one.norm(mean)), rel=1e-9)


def test_suspects_are_ranked_by_what_the_ledger_keeps(small: tuple[Replica, Batch]) -> None:
    replica, batch = small
    observer = observe(replica.module)
    seen: dict[str, list[tuple[float, float]]] = {}
    for places in ([0, 1, 2], [3, 1, 5]):
        rows = Batch({k: x[places] for k, x in batch.arrays.items()}, batch.weights[places])
        expected = one_by_one.sums(replica, rows)
        with observer.step(ids=[f"row {n}" for n in places]) as step:
            step.losses = losses = losses_of(replica, rows)
            losses.mean().backward()
        for n, norm, loss in zip(places, expected.norms, expected.losses, strict=True):
            seen.setdefault(f"row {n}", []).append((float(norm), float(loss)))
    found = observer.suspects(10)
    means = {name: sum(norm for norm, _ in rows) / len(rows) for name, rows in seen.items()}
    assert [each.example for each in found] == sorted(means, key=lambda name: -means[name])
    for each in found:
        own = seen[str(each.example)]
        assert each.times_seen == len(own)
        assert each.mean_norm == pytest.approx(means[str(each.example)], rel=1e-9)
        assert each.last_norm == pytest.approx(own[-1][0], rel=1e-9)
        assert each.mean_loss == pytest.approx(sum(loss for _, loss in own) / len(own), rel=1e-9)
        assert each.last_loss == pytest.approx(own[-1][1], rel=1e-9)
    by_loss = observer.suspects(2, "last_loss")
    largest = max(own[-1][1] for own in seen.values())
    assert by_loss[0].last_loss == pytest.approx(largest, rel=1e-9)
    with pytest.raises(InvalidArgument, match="order is 'size'"):
        observer.suspects(order="size")  # type: ignore[arg-type]


def test_examples_without_ids_are_known_by_step_and_place(small: tuple[Replica, Batch]) -> None:
    observer, step = observed(*small)
    assert step.norms is not None
    with observer.step() as second:
        losses_of(*small).mean().backward()
    assert second.ids is None
    named = observe(small[0].module)
    with named.step() as step:
        losses_of(*small).mean().backward()
    assert step.norms is not None
    assert named.suspects(1)[0].example == (1, int(step.norms.argmax()))


def test_a_page_and_a_data_frame(small: tuple[Replica, Batch]) -> None:
    observer, step = observed(*small)
    frame = observer.frame("pandas")
    assert frame["gradient_norm"].tolist() == [step.gradient_norm]
    assert frame["example_norm_p50"].tolist() == [step.quantiles["p50"]]
    page = observer._repr_html_()
    assert "Sequential, observed" in page
    assert "mean norm" in page


@pytest.mark.parametrize("name", ["ids", "weights"])
def test_each_example_needs_one(small: tuple[Replica, Batch], name: str) -> None:
    observer = observe(small[0].module)
    step = observer.step(**{name: [1, 2]})
    step.__enter__()
    losses_of(*small).mean().backward()
    with pytest.raises(InvalidArgument, match=f"{name} has 2 entries.* 6 examples"):
        step.__exit__(None, None, None)
