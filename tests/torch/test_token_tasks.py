"""Tasks of tokens: losses, weights and accuracies against loops over single positions."""

import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.errors import InvalidArgument
from batchgrad.torch import Task, causal_language_model, token_classification

N, LENGTH, WORDS = 4, 6, 7


class Language(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 5)
        self.head = nn.Linear(5, WORDS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        hidden = self.embedding(input_ids).cumsum(1)
        if attention_mask is not None:
            hidden = hidden * attention_mask.unsqueeze(-1)
        return self.head(hidden)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(5)
    return Language().double()


@pytest.fixture
def batch() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(6)
    mask = torch.ones(N, LENGTH, dtype=torch.int64)
    mask[1, 3:] = 0
    mask[2] = 0  # a row without any token
    mask[3, 1:] = 0  # a token, but none after it
    ids = torch.randint(0, WORDS, (N, LENGTH), generator=random, dtype=torch.uint8)
    return {"input_ids": ids, "attention_mask": mask}


def losses(made: Task, batch: dict[str, Tensor]) -> Tensor:
    return made.losses(made.outputs(made.module, batch), batch)


def by_position(logits: Tensor, labels: list[list[int | None]]) -> tuple[list[float], list[int]]:
    """The mean loss of each row's labels, and their number, one position at a time."""
    means, counts = [], []
    for row, wanted in zip(logits.detach(), labels, strict=True):
        found = [
            float(-row[t].log_softmax(0)[label])
            for t, label in enumerate(wanted)
            if label is not None
        ]
        means.append(sum(found) / len(found) if found else 0.0)
        counts.append(len(found))
    return means, counts


def next_tokens(batch: dict[str, Tensor]) -> list[list[int | None]]:
    ids, mask = batch["input_ids"].tolist(), batch["attention_mask"].tolist()
    return [
        [row[t + 1] if t + 1 < LENGTH and seen[t + 1] else None for t in range(LENGTH)]
        for row, seen in zip(ids, mask, strict=True)
    ]


def test_the_next_token_is_the_label(module: nn.Module, batch: dict[str, Tensor]) -> None:
    made = causal_language_model(module)
    logits = module(batch["input_ids"].long(), batch["attention_mask"])
    means, counts = by_position(logits, next_tokens(batch))
    assert losses(made, batch).tolist() == pytest.approx(means, rel=1e-12, abs=0)
    assert made.weights is not None
    assert made.weights(batch).tolist() == counts == [5, 2, 0, 0]


def test_the_weighted_mean_is_the_mean_over_all_tokens(
    module: nn.Module, batch: dict[str, Tensor]
) -> None:
    made = causal_language_model(module)
    assert made.weights is not None
    weights = made.weights(batch)
    labels = [[-100 if one is None else one for one in row] for row in next_tokens(batch)]
    logits = module(batch["input_ids"].long(), batch["attention_mask"])
    whole = functional.cross_entropy(logits.flatten(0, 1), torch.tensor(labels).flatten())
    mean = (weights * losses(made, batch)).sum() / weights.sum()
    torch.testing.assert_close(mean, whole, rtol=1e-12, atol=0)
    parameters = list(module.parameters())
    for found, expected in zip(
        torch.autograd.grad(mean, parameters), torch.autograd.grad(whole, parameters), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_a_row_without_labels_has_gradient_zero(
    module: nn.Module, batch: dict[str, Tensor]
) -> None:
    row = {name: array[2:3] for name, array in batch.items()}
    loss = losses(causal_language_model(module), row)
    assert loss.tolist() == [0.0]
    for gradient in torch.autograd.grad(loss.sum(), list(module.parameters())):
        assert not gradient.any()


def test_labels_are_shifted_or_not(module: nn.Module, batch: dict[str, Tensor]) -> None:
    plain = {"input_ids": batch["input_ids"]}
    labels = plain["input_ids"].long()
    labels[0, 2] = -100
    shifted = torch.cat([labels[:, 1:], torch.full((N, 1), -100)], 1)
    theirs = causal_language_model(module, labels="labels")
    ours = causal_language_model(module, labels="labels", shift=False)
    found = losses(theirs, {**plain, "labels": labels})
    assert torch.equal(found, losses(ours, {**plain, "labels": shifted}))
    wanted = [[None if one < 0 else one for one in row] for row in shifted.tolist()]
    means, _ = by_position(module(labels.clamp(min=0) * 0 + plain["input_ids"].long()), wanted)
    assert found.tolist() == pytest.approx(means, rel=1e-12, abs=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mean_losses_of_one_row_are_its_losses(
    module: nn.Module, batch: dict[str, Tensor], smoothing: float
) -> None:
    made = causal_language_model(module, label_smoothing=smoothing)
    assert made.targets is not None
    assert made.mean_losses is not None
    wanted = made.targets(batch)
    one_hot = functional.one_hot(wanted.clamp(min=0), WORDS) * (wanted >= 0).unsqueeze(-1)
    found = made.mean_losses(made.outputs(module, batch), one_hot.double())
    torch.testing.assert_close(found, losses(made, batch), rtol=1e-12, atol=0)


def test_the_share_of_right_tokens(module: nn.Module, batch: dict[str, Tensor]) -> None:
    made = causal_language_model(module)
    outputs = made.outputs(module, batch)
    best = outputs.argmax(-1).tolist()
    expected = []
    for row, wanted in zip(best, next_tokens(batch), strict=True):
        right = [one == label for one, label in zip(row, wanted, strict=True) if label is not None]
        expected.append(sum(right) / len(right) if right else 0.0)
    assert made.correct is not None
    assert made.correct(outputs, batch).tolist() == pytest.approx(expected, rel=1e-15)


class Positional(nn.Module):  # type: ignore[misc]
    """As in nanoGPT: another name of the argument, and no mask."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, idx: Tensor) -> tuple[Tensor, None]:
        return self.inner(idx), None


def test_a_module_without_a_mask_gets_none(module: nn.Module, batch: dict[str, Tensor]) -> None:
    made = causal_language_model(Positional(module))
    means, _ = by_position(module(batch["input_ids"].long()), next_tokens(batch))
    assert losses(made, batch).tolist() == pytest.approx(means, rel=1e-12, abs=0)


def test_a_class_for_each_token(module: nn.Module, batch: dict[str, Tensor]) -> None:
    labels = (batch["input_ids"].long() * 3) % WORDS
    labels[0, :2] = -100
    made = token_classification(module)
    arrays = {**batch, "labels": labels}
    seen = batch["attention_mask"].tolist()
    wanted = [
        [label if label >= 0 and one else None for label, one in zip(row, mask, strict=True)]
        for row, mask in zip(labels.tolist(), seen, strict=True)
    ]
    means, counts = by_position(module(batch["input_ids"].long(), batch["attention_mask"]), wanted)
    assert losses(made, arrays).tolist() == pytest.approx(means, rel=1e-12, abs=0)
    assert made.weights is not None
    assert made.weights(arrays).tolist() == counts == [4, 3, 0, 1]


def test_a_class_for_each_place_of_a_picture() -> None:
    torch.manual_seed(7)
    module = nn.Conv2d(3, 4, 1).double()
    inputs, labels = torch.randn(2, 3, 5, 5), torch.randint(0, 4, (2, 5, 5))
    labels[0, 0] = -100
    made = token_classification(module, "inputs", class_axis=1)
    found = losses(made, {"inputs": inputs, "labels": labels})
    for n in range(2):
        expected = functional.cross_entropy(module(inputs[n : n + 1].double()), labels[n : n + 1])
        torch.testing.assert_close(found[n], expected, rtol=1e-12, atol=0)


def test_token_tasks_can_be_pickled(module: nn.Module, batch: dict[str, Tensor]) -> None:
    made = causal_language_model(module)
    other = pickle.loads(pickle.dumps(made))  # noqa: S301 (our own)
    assert torch.equal(losses(other, batch), losses(made, batch))


def test_what_does_not_fit_is_refused(module: nn.Module, batch: dict[str, Tensor]) -> None:
    with pytest.raises(InvalidArgument, match="the label of a token would be itself"):
        causal_language_model(module, shift=False)
    with pytest.raises(InvalidArgument, match="class_axis is 2; expected 1 or -1"):
        token_classification(module, class_axis=2)
    short = {**batch, "attention_mask": batch["attention_mask"][:, :3]}
    with pytest.raises(InvalidArgument, match=r"attention_mask has shape \[4, 3\]"):
        causal_language_model(Positional(module)).losses(module(batch["input_ids"].long()), short)
    with pytest.raises(InvalidArgument, match=r"expected a logit for each class at each label"):
        causal_language_model(module).losses(torch.zeros(N, WORDS), batch)
