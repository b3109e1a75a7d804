"""Cases of recurrent networks."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from batchgrad.torch.tasks import Task
from tests.torch.zoo.case import (
    Arrays,
    Built,
    Model,
    case,
    classes,
    cross_entropy,
    floats,
    parameter,
    whole,
)


def last(inner: nn.Module, size: int) -> nn.Module:
    """A classifier of what a recurrent network gives at the end."""
    return Model(lambda m, x: m.head(m.inner(x)[0][:, -1]), inner=inner, head=nn.Linear(size, 3))


@case
def lstm() -> Built:
    return classes(last(nn.LSTM(3, 4, batch_first=True), 4), floats(5, 3))


@case
def lstm_both_ways_in_two_layers() -> Built:
    inner = nn.LSTM(3, 3, num_layers=2, bidirectional=True, batch_first=True, proj_size=2)
    return classes(last(inner, 4), floats(4, 3))


@case
def gru() -> Built:
    return classes(last(nn.GRU(3, 4, batch_first=True), 4), floats(5, 3))


@case
def gru_without_bias() -> Built:
    return classes(last(nn.GRU(3, 4, bias=False, batch_first=True), 4), floats(5, 3))


@case
def simple_recurrence() -> Built:
    return classes(last(nn.RNN(3, 4, nonlinearity="relu", batch_first=True), 4), floats(5, 3))


@case
def recurrence_with_examples_second() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.head(m.inner(x.transpose(0, 1))[1][0])

    return classes(Model(forward, inner=nn.GRU(3, 4), head=nn.Linear(4, 3)), floats(5, 3))


@case
def recurrence_from_a_trained_state() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.head(m.inner(x, m.start.expand(-1, len(x), -1).contiguous())[0].mean(1))

    parts = {"inner": nn.RNN(3, 4, batch_first=True), "start": parameter(1, 1, 4)}
    return classes(Model(forward, head=nn.Linear(4, 3), **parts), floats(5, 3))


@case
def lstm_cell() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        state = m.cell(x[:, 0])
        for t in range(1, x.shape[1]):
            state = m.cell(x[:, t], state)
        return m.head(state[0])

    return classes(Model(forward, cell=nn.LSTMCell(3, 4), head=nn.Linear(4, 3)), floats(4, 3))


@case
def gru_cell() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        state = m.start.expand(len(x), -1)
        for t in range(x.shape[1]):
            state = m.cell(x[:, t], state)
        return m.head(state)

    parts = {"cell": nn.GRUCell(3, 4), "head": nn.Linear(4, 3), "start": parameter(4)}
    return classes(Model(forward, **parts), floats(4, 3))


@case
def cell_by_hand() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 4)
        for t in range(x.shape[1]):
            state = torch.tanh(m.inward(x[:, t]) + state @ m.onward)
        return m.head(state)

    parts = {"inward": nn.Linear(3, 4), "head": nn.Linear(4, 3), "onward": parameter(4, 4)}
    return classes(Model(forward, **parts), floats(4, 3))


@case
def words_and_lstm() -> Built:
    inner = nn.LSTM(3, 4, batch_first=True)
    model = Model(lambda m, x: m.last(m.words(x)), words=nn.Embedding(7, 3), last=last(inner, 4))
    return classes(model, whole(7, 5))


@case(looks_at_data=True)
def packed_sequences() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        inputs, lengths = batch["inputs"], batch["lengths"]
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(m.inner(packed)[0], batch_first=True)
        return m.head(out[torch.arange(len(lengths)), lengths - 1])

    model = Model(inner=nn.GRU(3, 4, batch_first=True), head=nn.Linear(4, 3))
    lengths = torch.tensor([5, 3, 1, 4, 5, 2])
    arrays = {"inputs": floats(5, 3), "lengths": lengths, "targets": whole(3)}
    return Task(model, outputs, cross_entropy), arrays
