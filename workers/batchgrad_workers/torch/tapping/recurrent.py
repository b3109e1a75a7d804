"""Recurrent networks step by step: torch's fused calls, made of products that have formulas.

The gates of all T inputs are one product, those of the hidden state one for each step.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]
"""From the gates of the input, those of the hidden state, and the state: the next state."""


def lstm_step(own: Tensor, hidden: Tensor, state: State) -> State:
    """The hidden state before its projection, and the cell."""
    entry, forget, value, out = (own + hidden).chunk(4, -1)
    cell = forget.sigmoid() * state[1] + entry.sigmoid() * value.tanh()
    return out.sigmoid() * cell.tanh(), cell


def gru_step(own: Tensor, hidden: Tensor, state: State) -> State:
    """The hidden state."""
    own_reset, own_update, own_new = own.chunk(3, -1)
    reset, update, new = hidden.chunk(3, -1)
    reset, update = (own_reset + reset).sigmoid(), (own_update + update).sigmoid()
    new = (own_new + reset * new).tanh()
    return ((state[0] - new) * update + new,)


def tanh_step(own: Tensor, hidden: Tensor, state: State) -> State:
    """The hidden state."""
    del state
    return ((own + hidden).tanh(),)


def relu_step(own: Tensor, hidden: Tensor, state: State) -> State:
    """The hidden state."""
    del state
    return ((own + hidden).relu(),)


NETWORKS: dict[Callable[..., Any], Step] = {
    torch.lstm: lstm_step,
    torch.gru: gru_step,
    torch.rnn_tanh: tanh_step,
    torch.rnn_relu: relu_step,
}
CELLS: dict[Callable[..., Any], Step] = {
    torch.lstm_cell: lstm_step,
    torch.gru_cell: gru_step,
    torch.rnn_tanh_cell: tanh_step,
    torch.rnn_relu_cell: relu_step,
}


def by_steps(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any] | None:
    """The call made of steps; None: no recurrent call, or packed sequences, or with dropout."""
    if function in CELLS and len(args) == 6 and args[0].dim() == 2:
        return lambda: _cell(CELLS[function], *args)
    if function not in NETWORKS or len(args) != 9 or not isinstance(args[3], bool):
        return None
    dropout, training = args[5], args[6]
    if dropout and training:
        return None
    return lambda: _network(NETWORKS[function], *args)


def _cell(
    step: Step, inputs: Tensor, state: Any, w: Tensor, u: Tensor, b: Any, c: Any
) -> Tensor | State:
    """One step, of inputs (n, i)."""
    known = (state,) if isinstance(state, Tensor) else tuple(state)
    found = step(functional.linear(inputs, w, b), functional.linear(known[0], u, c), known)
    return found[0] if isinstance(state, Tensor) else found


def _network(
    step: Step,
    inputs: Tensor,
    state: Any,
    parameters: list[Tensor],
    biased: bool,
    layers: int,
    dropout: float,
    training: bool,
    both_ways: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """The output over time, and the last states of all layers and directions."""
    del dropout, training
    rows = inputs.transpose(0, 1) if batch_first else inputs
    states = (state,) if isinstance(state, Tensor) else tuple(state)
    ways = 2 if both_ways else 1
    own = _grouped(parameters, len(parameters) // (layers * ways))
    last: list[State] = []
    for layer in range(layers):
        outputs = []
        for way in range(ways):
            first = tuple(each[layer * ways + way] for each in states)
            found, end = _direction(step, rows, first, next(own), biased, way == 1)
            outputs.append(found)
            last.append(end)
        rows = outputs[0] if ways == 1 else torch.cat(outputs, -1)
    ends = tuple(torch.stack(each) for each in zip(*last, strict=True))
    return (rows.transpose(0, 1) if batch_first else rows, *ends)


def _grouped(parameters: list[Tensor], size: int) -> Iterator[list[Tensor]]:
    return (parameters[k : k + size] for k in range(0, len(parameters), size))


def _direction(
    step: Step, rows: Tensor, state: State, parameters: list[Tensor], biased: bool, back: bool
) -> tuple[Tensor, State]:
    """The outputs (T, n, h) of one direction of a layer, and its last state."""
    w, u, *rest = parameters
    b, c = (rest.pop(0), rest.pop(0)) if biased else (None, None)
    own = functional.linear(rows, w, b).unbind(0)
    outputs = []
    for gates in reversed(own) if back else own:
        state = step(gates, functional.linear(state[0], u, c), state)
        if rest:
            state = (functional.linear(state[0], rest[0]), *state[1:])
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if back else outputs), state
