"""Products of an input and a parameter by letters: einsum of two, bmm, matmul of stacks or vectors.

Of y = einsum("a,p->y"), g_n is einsum("a,y->Np") of the rows of example n; N is the examples' axis.
"""

from collections.abc import Callable, Mapping
from math import prod
from string import ascii_letters
from typing import Any

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas.base import (
    Arguments,
    Gradients,
    Kind,
    Layout,
    chunks,
    squared,
    weighted,
)

Function = Callable[..., Any]
Letters = tuple[str, str, str]
"""Of the input, of the parameter, of the result."""

SPARE = "NM"
"""The letters of the examples and of their places; `_fresh` gives neither."""


class Contraction(Gradients):
    """g_n from inputs and errors whose first axis N is the examples'."""

    def __init__(
        self, inputs: Tensor, errors: Tensor, letters: Letters, shape: tuple[int, ...]
    ) -> None:
        self.inputs, self.errors, self.letters, self.shape = inputs, errors, letters, shape

    def __len__(self) -> int:
        return len(self.inputs)

    def sums(self, weights: Tensor | None) -> Tensor:
        """In one product."""
        own, parameter, result = self.letters
        errors = weighted(self.errors, weights)
        found = torch.einsum(f"{own},{result}->{parameter}", self.inputs, errors)
        return found.reshape(self.shape)

    def each(self, rows: slice) -> Tensor:
        """g_n."""
        own, parameter, result = self.letters
        found = torch.einsum(f"{own},{result}->N{parameter}", self.inputs[rows], self.errors[rows])
        return found.reshape(-1, *self.shape)

    def squared_norms(self) -> Tensor:
        """Of g_n formed in chunks."""
        size = prod(self.shape) * self.inputs.element_size()
        return torch.cat([squared(self.each(run)) for run in chunks(len(self), size)])

    def sizes(self) -> Tensor:
        """‖a_n‖‖δ_n‖, which bounds any contraction of the two."""
        return (squared(self.inputs) * squared(self.errors)).sqrt()

    def positions(self) -> int:
        """Numbers that are summed for one of g_n."""
        own, parameter, result = self.letters
        shared = (set(own) & set(result)) - set(parameter) - {SPARE[0]}
        return prod(self.inputs.shape[own.index(letter)] for letter in shared)

    @property
    def dtype(self) -> torch.dtype:
        return self.inputs.dtype


class Einsum(Kind):
    """torch.einsum of an input and a parameter, without an index that only one of them has."""

    name = "einsum"
    functions: tuple[Function, ...] = (torch.einsum,)

    def arguments(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """Roles "0" and "1": whichever of the operands is the parameter."""
        equation, *operands = args
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = list(operands[0])
        if kwargs or not isinstance(equation, str) or len(operands) != 2:
            return None
        letters = _letters(equation, operands)
        if letters is None:
            return None
        return Arguments(
            None, {"0": operands[0], "1": operands[1]}, (torch.einsum, letters, operands)
        )

    def run(self, arguments: Arguments, parameters: dict[str, Tensor]) -> Tensor:
        """The contraction."""
        function, (first, second, result), _ = arguments.options
        operands = parameters["0"], parameters["1"]
        if function is torch.einsum:
            return torch.einsum(f"{first},{second}->{result}", *operands)
        return function(*operands)

    def gradients(
        self, arguments: Arguments, role: str, error: Tensor, layout: Layout, n: int
    ) -> Gradients:
        """A Contraction, with the examples' axis split in examples and their places."""
        _, (*parts, result), operands = arguments.options
        own, inputs = parts[1 - int(role)], operands[1 - int(role)]
        letter = result[layout.axis]
        inside = Layout(own.index(letter), layout.strided)
        split = [f"N{each.replace(letter, 'M')}" for each in (own, result)]
        return Contraction(
            inside.first(inputs, n),
            layout.first(error, n),
            (
                split[0],
                "".join(each for each in parts[int(role)] if each in own + result),
                split[1],
            ),
            tuple(operands[int(role)].shape),
        )

    def held(self, arguments: Arguments) -> list[Tensor]:
        """Both operands."""
        return list(arguments.options[2])

    def kept(self, arguments: Arguments, result: Tensor) -> int:
        """None."""
        return 0


class StackProduct(Einsum):
    """matmul and bmm of which the parameter is a vector or a stack of matrices."""

    name = "stack_matmul"
    functions = (
        torch.matmul,
        torch.Tensor.matmul,
        torch.Tensor.__matmul__,
        torch.bmm,
        torch.Tensor.bmm,
        torch.mv,
        torch.Tensor.mv,
    )

    def arguments(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Arguments | None:
        """From two operands; an axis of one that is broadcast has a letter of its own."""
        if kwargs or len(args) != 2:
            return None
        first, second = args
        one, other = "ij"[first.dim() == 1 :], "jk"[: 2 - (second.dim() == 1)]
        stacks = [first.shape[: -len(one)], second.shape[: -len(other)]]
        shared = min(len(stack) for stack in stacks)
        names = _fresh(2 * max(len(stack) for stack in stacks))
        names, spare = names[: len(names) // 2], names[len(names) // 2 :]
        parts = [names[len(names) - len(stack) :] for stack in stacks]
        for k in range(1, shared + 1):
            sizes = stacks[0][-k], stacks[1][-k]
            if sizes[0] != sizes[1]:  # one of them is 1, and broadcast
                small = sizes.index(1)
                own = parts[small]
                parts[small] = own[: len(own) - k] + spare[-k] + own[len(own) - k + 1 :]
        result = names + one.replace("j", "") + other.replace("j", "")
        letters = parts[0] + one, parts[1] + other, result
        return Arguments(None, {"0": first, "1": second}, (torch.matmul, letters, list(args)))


def _fresh(count: int, taken: str = "ijk") -> str:
    """So many letters that are not taken."""
    return "".join(each for each in ascii_letters if each not in taken + SPARE)[:count]


def _letters(equation: str, operands: list[Tensor]) -> Letters | None:
    """The letters of an equation of two operands, with an ellipsis written out.

    None: an index twice in one operand, or in one operand alone and not in the result; or an index
    of two sizes, which broadcasts.
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != 2 or not arrow or set(SPARE) & set(equation):
        return None
    wide = [operand.dim() - len(part) + 3 for part, operand in zip(parts, operands, strict=True)]
    if "..." in left:
        counts = {count for part, count in zip(parts, wide, strict=True) if "..." in part}
        if len(counts) != 1:
            return None
        fresh = _fresh(counts.pop(), equation)
        parts = [part.replace("...", fresh) for part in parts]
        result = result.replace("...", fresh)
    if any(len(set(part)) != len(part) for part in parts):
        return None
    first, second = (
        dict(zip(part, x.shape, strict=True)) for part, x in zip(parts, operands, strict=True)
    )
    if (first.keys() ^ second.keys()) - set(result):
        return None
    if any(first[each] != second[each] for each in first.keys() & second.keys()):
        return None
    return parts[0], parts[1], result
