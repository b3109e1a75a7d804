"""Dropout by keys: masks that neighbours, places and threads do not change."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from batchgrad.torch.tasks import Task
from batchgrad_workers.arrays import Keys
from batchgrad_workers.nn.kernels.dropout import drop
from batchgrad_workers.randomness import derived, example_keys
from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.dropout.drawing import drawing
from batchgrad_workers.torch.refusal import OtherCalls, Refused
from batchgrad_workers.torch.replica import Batch, Replica


@pytest.fixture
def keys() -> Keys:
    return example_keys(3, 5, np.arange(10, 16))


def images(n: int = 6) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randn(n, 4, 6, dtype=torch.float64, generator=random)


class SelfAttention(nn.Module):  # type: ignore[misc]
    def __init__(self, *, weights: bool, batch_first: bool = True) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.attention = nn.MultiheadAttention(
            6, 2, dropout=0.4, batch_first=batch_first, dtype=torch.float64
        )
        self.weights = weights

    def forward(self, inputs: Tensor) -> Tensor:
        return self.attention(inputs, inputs, inputs, need_weights=self.weights)[0]


def scaled_dot_product(inputs: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(inputs, inputs, inputs, dropout_p=0.5)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout": nn.Dropout(0.3),
    "dropout in place": lambda inputs: functional.dropout(inputs.clone(), 0.3, inplace=True),
    "torch.dropout": lambda inputs: torch.dropout(inputs, 0.3, train=True),
    "dropout1d": nn.Dropout1d(0.5),
    "dropout2d": lambda inputs: functional.dropout2d(inputs[..., None], 0.5),
    "dropout3d": lambda inputs: functional.dropout3d(inputs[..., None, None], 0.5),
    "alpha": nn.AlphaDropout(0.3),
    "alpha in place": lambda inputs: functional.alpha_dropout(inputs.clone(), 0.3, True, True),
    "feature alpha": nn.FeatureAlphaDropout(0.5),
    "attention": scaled_dot_product,
    "attention module": SelfAttention(weights=False),
    "attention module with weights": SelfAttention(weights=True),
    "encoder layer": nn.TransformerEncoderLayer(
        6, 2, 8, dropout=0.3, batch_first=True, dtype=torch.float64
    ),
    "rand": lambda inputs: inputs * torch.rand(inputs.shape, dtype=inputs.dtype).round(),
    "bernoulli_": lambda inputs: inputs * torch.empty(len(inputs), 1, 1).bernoulli_(0.5),
    "two": nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.3)),
}
each = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@each
def test_a_row_has_its_mask_in_any_microbatch(
    function: Callable[[Tensor], Tensor], keys: Keys
) -> None:
    inputs = images()
    with drawing(keys):
        whole = function(inputs)
    for rows in ([0], [5], [3, 1], [5, 4, 3, 2, 1, 0]):
        with drawing(keys[rows]):
            part = function(inputs[rows])
        torch.testing.assert_close(part, whole[rows], rtol=1e-12, atol=1e-14)
    with drawing(keys + np.uint64(1)):
        assert not torch.allclose(function(inputs), whole)


DRAWN = {"rand", "bernoulli_"}
"""Numbers, not dropout: without keys they come from the global generator."""

dropping = pytest.mark.parametrize(
    "function", [each for name, each in FUNCTIONS.items() if name not in DRAWN]
)


@each
def test_no_global_generator_is_used(function: Callable[[Tensor], Tensor], keys: Keys) -> None:
    before = torch.get_rng_state()
    with drawing(keys):
        function(images())
    assert torch.equal(torch.get_rng_state(), before)


@dropping
def test_without_keys_nothing_is_dropped(function: Callable[[Tensor], Tensor]) -> None:
    inputs, before = images(), torch.get_rng_state()
    with drawing(None):
        found = function(inputs)
    assert torch.equal(torch.get_rng_state(), before)
    if isinstance(function, nn.Module):
        expected = function.eval()(inputs)
        function.train()
    elif function is scaled_dot_product:
        expected = functional.scaled_dot_product_attention(inputs, inputs, inputs)
    else:
        expected = inputs.reshape(found.shape)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_masks_are_those_of_the_numpy_engine(keys: Keys) -> None:
    inputs = images().flatten(1)
    with drawing(keys) as draws:
        first, second = functional.dropout(inputs, 0.3), functional.dropout(inputs, 0.3)
    for call, found in enumerate([first, second]):
        expected = np.empty(inputs.shape)
        drop(inputs.numpy(), derived(keys, call), 0.3, np.float64(1 / 0.7), expected)
        np.testing.assert_array_equal(found.numpy(), expected)
    assert [draw.shape for draw in draws.draws] == [(6, 24), (6, 24)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_share_of_dropped_numbers_is_p(dtype: torch.dtype) -> None:
    ones = torch.ones(100, 1000, dtype=dtype)
    with drawing(example_keys(1, 1, np.arange(100))):
        found = functional.dropout(ones, 0.2)
    assert found.dtype == dtype
    assert abs(float((found == 0).double().mean()) - 0.2) < 5 * (0.2 * 0.8 / 1e5) ** 0.5
    assert set(found.unique().tolist()) == {0.0, float(torch.tensor(1.25, dtype=dtype))}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_uniform_numbers_are_even_and_below_1(dtype: torch.dtype) -> None:
    with drawing(example_keys(1, 1, np.arange(100))):
        found = torch.rand(100, 1000, dtype=dtype)
    assert found.dtype == dtype
    assert 0 <= float(found.min()) < float(found.max()) < 1
    counts = torch.histc(found.double(), 8, 0, 1)
    assert float((counts - 12500).square().sum() / 12500) < 40  # chi squared of 7 degrees


def test_numbers_of_an_own_generator_stay(keys: Keys) -> None:
    expected = torch.rand(6, generator=torch.Generator().manual_seed(3))
    with drawing(keys):
        assert torch.equal(torch.rand(6, generator=torch.Generator().manual_seed(3)), expected)


def test_alpha_dropout_keeps_mean_and_variance(keys: Keys) -> None:
    inputs = torch.randn(6, 100_000, dtype=torch.float64)
    with drawing(keys):
        found = functional.alpha_dropout(inputs, 0.3, training=True)
    assert abs(float(found.mean())) < 0.01
    assert abs(float(found.var()) - 1) < 0.01


def test_channels_are_dropped_whole(keys: Keys) -> None:
    with drawing(keys):
        found = functional.dropout2d(torch.ones(6, 40, 3, 3), 0.5)
    assert set(found.flatten(2).unique(dim=2).flatten().tolist()) == {0.0, 2.0}
    assert (found.flatten(2).std(2) == 0).all()


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_none_or_all_are_dropped(p: float, keys: Keys) -> None:
    inputs = images()
    with drawing(keys):
        assert torch.equal(functional.dropout(inputs, p), inputs * (1 - p))
        attended = functional.scaled_dot_product_attention(inputs, inputs, inputs, dropout_p=p)
    expected = functional.scaled_dot_product_attention(inputs, inputs, inputs)
    torch.testing.assert_close(attended, expected * (1 - p))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [1, 2])
def test_attention_with_dropout_is_attention(causal: bool, heads: int, keys: Keys) -> None:
    """At a tiny p nothing is dropped, so the formula must give what torch gives."""
    query, key = torch.randn(6, 2, 5, 4).double(), torch.randn(6, heads, 7, 4).double()
    given: dict[str, Any] = {"is_causal": causal, "scale": 0.3, "enable_gqa": heads == 1}
    mask = None if causal else torch.rand(5, 7).double()
    if mask is not None and heads == 1:
        mask = mask > 0.3
    expected = functional.scaled_dot_product_attention(query, key, key, mask, **given)
    with drawing(keys):
        found = functional.scaled_dot_product_attention(query, key, key, mask, 1e-15, **given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weights", [True, False])
def test_examples_may_lie_on_the_second_axis(weights: bool, keys: Keys) -> None:
    class Late(nn.Module):  # type: ignore[misc]
        def forward(self, inputs: Tensor) -> Tensor:
            return attention(functional.dropout(inputs.transpose(0, 1), 0.3)).transpose(0, 1)

    attention = SelfAttention(weights=weights, batch_first=False)
    inputs = torch.cat([images(), images(), images()], 1)  # 12 positions, a multiple of 6 examples
    with drawing(keys, [1, 0]):
        whole = Late()(inputs)
    for n in range(6):
        with drawing(keys[[n]], [1, 0]):
            row = Late()(inputs[[n]])
        torch.testing.assert_close(row, whole[[n]], rtol=1e-12, atol=1e-14)


def test_an_axis_without_the_examples_is_refused(keys: Keys) -> None:
    with drawing(keys), pytest.raises(Refused, match=r"dropout got \[5, 6\] for 6 examples"):
        functional.dropout(torch.ones(5, 6))
    with drawing(keys, []), pytest.raises(OtherCalls, match="draws mask 0; the preflight saw 0"):
        functional.dropout(torch.ones(6, 5))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_dropout_in_an_rnn_is_refused(kind: type[nn.LSTM], keys: Keys) -> None:
    rnn = kind(6, 5, num_layers=2, dropout=0.3, batch_first=True, dtype=torch.float64)
    packed = nn.utils.rnn.pack_padded_sequence(images(), [4] * 6, batch_first=True)
    for inputs in (images(), packed):
        with drawing(keys), pytest.raises(Refused, match=r"dropout=0\.3.*nn\.Dropout\(0\.3\)"):
            rnn(inputs)
    with drawing(None):
        silent = rnn(images())[0]
    torch.testing.assert_close(silent, rnn.eval()(images())[0])
    with drawing(keys):
        rnn(images())


@pytest.mark.parametrize(
    "backward", [lambda loss, _: loss.backward(), torch.autograd.grad], ids=["backward", "grad"]
)
def test_a_repeated_forward_pass_is_refused(backward: Callable[..., object], keys: Keys) -> None:
    inputs = images().requires_grad_()
    with drawing(keys):
        outputs = checkpoint(functional.dropout, inputs, use_reentrant=False)
        with pytest.raises(Refused, match="activation checkpointing"):
            backward(outputs.sum(), inputs)


def test_gradients_pass_what_was_kept(keys: Keys) -> None:
    inputs = images().requires_grad_()
    with drawing(keys):
        outputs = functional.dropout(inputs, 0.3)
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad * inputs, outputs)


def test_threads_draw_by_their_own_keys(keys: Keys) -> None:
    def row(n: int) -> Tensor:
        with drawing(keys[[n]]):
            return functional.dropout(images()[[n]])

    with drawing(keys):
        whole = functional.dropout(images())
    with ThreadPoolExecutor(3) as threads:
        assert torch.equal(torch.cat(list(threads.map(row, range(6)))), whole)


@pytest.mark.parametrize("outer", [True, False])
def test_another_mode_sees_the_other_calls(outer: bool, keys: Keys) -> None:
    class Recording(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    seen: list[Any] = []
    module = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.3)).double()
    modes: list[Any] = [Recording(), drawing(keys)]
    with modes[1 - outer], modes[outer]:
        found = module(images())
    with drawing(keys):
        assert torch.equal(found, module(images()))
    assert functional.linear in seen


def test_gradients_one_by_one_have_the_masks_of_the_microbatch(keys: Keys) -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Flatten(), nn.Linear(20, 1))
    task = Task(module, lambda m, batch: m(batch["inputs"]), lambda outputs, _: outputs[:, 0])
    replica = Replica(task, torch.float64)
    batch = Batch({"inputs": images()}, torch.ones(6, dtype=torch.float64), keys)
    losses = replica.losses(batch)
    whole = torch.autograd.grad(losses.sum(), list(replica.trainable.values()))
    found = one_by_one.sums(replica, batch)
    torch.testing.assert_close(found.losses, losses.detach(), rtol=1e-12, atol=1e-14)
    for own, expected in zip(found.gradients.values(), whole, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-14)
    alone = one_by_one.sums(replica, batch.row(4))
    assert torch.equal(alone.losses, found.losses[4:5])
    assert torch.equal(alone.norms, found.norms[4:5])
