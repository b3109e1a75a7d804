"""The gap of an observed step, against shortcuts and gradients of a replica."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch import observe
from batchgrad.torch.observing.gap import Agreement, Gap
from batchgrad.torch.observing.step import Step
from batchgrad.torch.tasks import Task
from batchgrad_engine.measurement.comparison import agreement
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.formulas import embedding
from batchgrad_workers.torch.replica import Batch, Replica
from tests.torch.passed_means import shortcuts
from tests.torch.test_observe import UNSEEN, losses_of
from tests.torch.zoo.everything import ALL

NAMES = ("relative_error", "cosine_similarity", "norm_ratio")
WITHOUT = {
    *("product_with_parameter_on_the_right", "product_of_stacks", "einsum_with_parameter"),
    *("einsum_of_two_parameters", "scores_of_prototypes", "rows_by_gather", "bilinear_layer"),
    *("penalty_of_parameters", "experts_chosen_by_data", "bags_of_words", "lstm", "gru"),
    *("lstm_both_ways_in_two_layers", "gru_without_bias", "simple_recurrence", "lstm_cell"),
    *("recurrence_with_examples_second", "recurrence_from_a_trained_state", "gru_cell"),
    *("words_and_lstm", "attention_with_trained_distances"),
    # loops that call several parts of the module by themselves
    *("several_arrays", "several_terms", "distances_to_a_second_view", "weighted_bags_of_words"),
    "encoder_with_padded_examples",
}


def expected(replica: Replica, batch: Batch) -> dict[str, Agreement]:
    """By layer, "" the whole: as the engine compares the replica's two gradients."""
    trace = together.trace(replica, batch)
    exact = one_by_one.sums(replica, batch).gradients
    _, shortcut = shortcuts(replica, batch, trace, ["averaged_error"])["averaged_error"]
    layers: dict[str, list[str]] = {"": list(exact)}
    for name in exact:
        layers.setdefault(name.rpartition(".")[0] or "(root)", []).append(name)
    total = batch.weights.sum()
    found = {}
    for layer, names in layers.items():
        rows: list[Any] = [
            torch.cat([gradients[name].flatten() / share for name in names]).numpy()
            for gradients, share in ((exact, total), (shortcut, 1.0))
        ]
        found[layer] = Agreement(**agreement(rows[0], rows[1]))
    return found


def check(gap: Gap | None, replica: Replica, batch: Batch) -> None:
    """A layer that no gradient reaches is left out."""
    assert gap is not None
    reference = expected(replica, batch)
    own: dict[str, Agreement] = {"": gap, **gap.layers}
    reached = {layer: each for layer, each in reference.items() if not math.isnan(each.norm_ratio)}
    assert set(reached) - {""} == set(gap.layers)
    for layer, figures in reached.items():
        for name in NAMES:
            found, known = getattr(own[layer], name), getattr(figures, name)
            assert found == pytest.approx(known, rel=1e-9, abs=1e-9, nan_ok=True), (layer, name)


def observed(replica: Replica, batch: Batch, **options: Any) -> Step:
    """One step on the mean loss."""
    with observe(replica.module, **options).step() as step:
        losses_of(replica, batch).mean().backward()
    return step


@pytest.mark.filterwarnings("ignore:Norms, noise scale and gradient norm leave out")
@pytest.mark.filterwarnings("ignore:Step 1 has no figures. no parameter has uses")
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(
    "case", [each for each in ALL if each.name not in UNSEEN], ids=lambda case: case.name
)
def test_gaps_of_the_zoo(case: Any) -> None:
    replica, batch = case.made()
    step = observed(replica, batch)
    replica.module.zero_grad()
    assert (step.gap is None) == (case.name in WITHOUT) == (step.gap_missing is not None)
    if step.gap is not None:
        check(step.gap, replica, Batch(batch.arrays, torch.ones_like(batch.weights)))


class Gpt(nn.Module):  # type: ignore[misc]
    """One block over words and places, with a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(13, 8), nn.Embedding(6, 8)
        self.norm, self.thirds, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        parts = self.thirds(self.norm(x)).view(*ids.shape, 3, 2, 4).permute(2, 0, 3, 1, 4)
        q, k, v = parts
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        x = x + self.down(functional.gelu(self.up(x)))
        return functional.linear(x, self.words.weight)


def gpt() -> tuple[Replica, Batch]:
    torch.manual_seed(5)
    task = Task(
        Gpt().double(),
        lambda module, batch: module(batch["ids"]),
        lambda outputs, batch: functional.cross_entropy(
            outputs.transpose(1, 2), batch["targets"], reduction="none"
        ).mean(1),
    )
    arrays = {name: torch.randint(0, 13, (7, 6)) for name in ("ids", "targets")}
    return Replica(task, torch.float64), Batch(arrays, torch.rand(7, dtype=torch.float64) + 0.5)


def mlp() -> tuple[Replica, Batch]:
    torch.manual_seed(6)
    layers = nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3)
    task = Task(
        nn.Sequential(*layers),
        lambda module, batch: module(batch["inputs"]),
        lambda outputs, batch: functional.cross_entropy(
            outputs, batch["targets"], reduction="none"
        ),
    )
    arrays = {"inputs": torch.randn(7, 5).double(), "targets": torch.randint(0, 3, (7,))}
    return Replica(task, torch.float64), Batch(arrays, torch.rand(7, dtype=torch.float64) + 0.5)


def part(batch: Batch, rows: slice) -> Batch:
    return Batch({name: x[rows] for name, x in batch.arrays.items()}, batch.weights[rows])


both = pytest.mark.parametrize("made", [mlp, gpt])


@both
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weights(made: Any, reduction: Any) -> None:
    replica, batch = made()
    with observe(replica.module, reduction=reduction).step(weights=batch.weights) as step:
        loss = (batch.weights * losses_of(replica, batch)).sum()
        (loss / batch.weights.sum() if reduction == "mean" else loss).backward()
    check(step.gap, replica, batch)


@both
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_several_backward_passes(made: Any, reduction: Any) -> None:
    """Of unequal size: with a mean in each, an example of the smaller one weighs more."""
    replica, batch = made()
    parts, shares = (part(batch, slice(0, 5)), part(batch, slice(5, 7))), []
    with observe(replica.module, reduction=reduction).step(weights=batch.weights) as step:
        for each in parts:
            total = each.weights.sum() * 2 if reduction == "mean" else torch.tensor(1.0)
            shares.append(each.weights / total)
            ((each.weights * losses_of(replica, each)).sum() / total).backward()
        replica.module.zero_grad()
    check(step.gap, replica, Batch(batch.arrays, torch.cat(shares)))


@both
def test_a_graph_that_is_used_twice(made: Any) -> None:
    replica, batch = made()
    with observe(replica.module).step(weights=batch.weights) as step:
        loss = (batch.weights * losses_of(replica, batch)).sum() / batch.weights.sum()
        (loss / 3).backward(retain_graph=True)
        (loss * 2 / 3).backward()
    check(step.gap, replica, batch)


def test_float32_and_autocast() -> None:
    replica, batch = mlp()
    reference = expected(replica, Batch(batch.arrays, torch.ones(7).double()))[""]
    module, inputs = replica.module.float(), batch.arrays["inputs"].float()
    for precision, enabled in ((1e-5, False), (0.05, True)):
        with observe(module).step() as step:
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                outputs = module(inputs)
            functional.cross_entropy(outputs.float(), batch.arrays["targets"]).backward()
        assert step.gap is not None
        assert step.gap.relative_error == pytest.approx(reference.relative_error, rel=precision)


def test_each_tenth_step_in_history_frame_and_notebook() -> None:
    replica, batch = mlp()
    observer, steps = observe(replica.module), []
    for _ in range(11):
        with observer.step() as step:
            losses_of(replica, batch).mean().backward()
            replica.module.zero_grad()
        steps.append(step)
    gaps = [step.gap for step in steps]
    assert [gap is not None for gap in gaps] == [k in {0, 10} for k in range(11)]
    assert steps[5].gap_missing == "gap_every is 10"
    assert gaps[0] == gaps[10]
    assert gaps[0] is not None
    assert gaps[10] is not None
    row = observer.history[0]
    assert row["gap_averaged_error"] == gaps[0].relative_error
    assert row["cosine_averaged_error.2"] == gaps[0].layers["2"].cosine_similarity
    assert row["norm_ratio_averaged_error.0"] == gaps[0].layers["0"].norm_ratio
    frame = observer.frame("polars")
    column = frame["gap_averaged_error"].to_list()
    assert [k for k in range(11) if column[k] is not None] == [0, 10]
    assert column[10] == gaps[10].relative_error
    html = observer._repr_html_()
    assert "gap by layer" in html
    assert f"{gaps[0].layers['4'].norm_ratio:.6g}" in html


def test_none_wanted() -> None:
    replica, batch = mlp()
    step = observed(replica, batch, gap_every=None)
    assert step.norms is not None
    assert step.gap is None
    assert step.gap_missing == "gap_every is None"


def test_a_module_that_returns_its_loss_has_none() -> None:
    class WithLoss(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            outputs = self.layer(x)
            return outputs, functional.cross_entropy(outputs, targets, reduction="none")

    module = WithLoss()
    with observe(module).step() as step:
        module(torch.randn(6, 4), torch.randint(0, 3, (6,)))[1].mean().backward()
    assert step.norms is not None
    assert step.gap is None
    assert step.gap_missing == "errors came to 2 results of the module, not to one"


def test_a_lookup_in_a_large_table_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MOST_MEAN_NUMBERS", 50)
    step = observed(*gpt())
    assert step.norms is not None
    assert step.gap_missing
    assert step.gap_missing.startswith("embedding of words has no mean input")


def test_a_module_that_fails_on_one_example() -> None:
    class Several(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            if len(x) == 1:
                raise ValueError("one is too few")
            return self.layer(x)

    module = Several()
    with observe(module).step() as step:
        module(torch.randn(6, 4)).square().mean().backward()
    assert step.norms is not None
    assert step.gap_missing == "the module does not run on one example: one is too few"


def test_the_users_module_is_left_alone() -> None:
    """What a forward pass changes, a copy's does not; what it keeps of its graph is no obstacle."""

    class Counting(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.kept = self.layer(x)
            return self.kept

    module = Counting()
    observer = observe(module, gap_every=1)
    for _ in range(3):
        with observer.step() as step:
            module(torch.randn(6, 4)).square().mean().backward()
    assert step.gap is not None
    assert module.calls == 3
