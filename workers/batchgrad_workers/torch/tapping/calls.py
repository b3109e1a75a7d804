"""Calls of a module that touch trainable parameters, and how each is treated: a Trace."""

from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

MADE = "made"
"""From parameters alone: its result stands for them in later calls."""

OTHER = "other"
"""Without formulas: it runs as it is."""


@dataclass(frozen=True)
class Call:
    """A call that touches trainable parameters.

    `kind` names a Kind, or is MADE or OTHER. `parameters` gives, by role, the parameters of which
    gradients come from this call; several where a tensor is made of them. The examples lie along
    `axis` of the result, as Layout says. `output_shape` is that of the result of one example alone,
    and `input_shape` that of its mean input; None: it has none, and no `output_shape` either if it
    is no call with formulas. Without `needs_input` its gradients need no input, as those of a sum.
    """

    name: str
    function: str
    kind: str
    parameters: dict[str, tuple[str, ...]]
    axis: int = 0
    strided: bool = False
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    needs_input: bool = True

    @property
    def means_size(self) -> int:
        """Numbers of its mean input and its mean error."""
        shapes = (self.input_shape, self.output_shape)
        return sum(prod(shape) for shape in shapes if shape is not None)


@dataclass(frozen=True)
class Trace:
    """The calls that touch trainable parameters, in order, and the parameters they do not cover.

    `uncovered` have gradients by autograd alone, through `fallback`: "vmap" or "loop". `ends` are
    the shapes of what has means beside the calls, by name, and `rowwise` the arrays without a mean
    on which a mean example would depend. `alone` says why no example can stand for means.
    """

    calls: tuple[Call, ...]
    uncovered: tuple[str, ...]
    fallback: str
    ends: tuple[tuple[str, tuple[int, ...]], ...] = ()
    rowwise: tuple[str, ...] = ()
    alone: str = ""

    @property
    def means_size(self) -> int:
        """Numbers of the mean inputs and errors of all calls, and of the ends."""
        sizes = [call.means_size for call in self.calls]
        return sum(sizes) + sum(prod(shape) for _, shape in self.ends)

    def without(self, names: set[str]) -> "Trace":
        """The trace with these parameters uncovered too."""
        calls = []
        for call in self.calls:
            kept = {
                role: tuple(name for name in covered if name not in names)
                for role, covered in call.parameters.items()
            }
            kept = {role: covered for role, covered in kept.items() if covered}
            if kept or call.kind == MADE:
                calls.append(replace(call, parameters=kept))
            else:
                calls.append(Call(call.name, call.function, OTHER, {}))
        return replace(self, calls=tuple(calls), uncovered=(*self.uncovered, *sorted(names)))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Trace":
        """From plain values, with lists in place of tuples."""
        calls = tuple(
            Call(
                **{
                    **call,
                    "parameters": {k: tuple(v) for k, v in call["parameters"].items()},
                    "input_shape": _shape(call["input_shape"]),
                    "output_shape": _shape(call["output_shape"]),
                }
            )
            for call in values["calls"]
        )
        ends = tuple((name, tuple(shape)) for name, shape in values["ends"])
        rest = tuple(values["rowwise"]), values["alone"]
        return cls(calls, tuple(values["uncovered"]), values["fallback"], ends, *rest)


def _shape(sizes: Any) -> tuple[int, ...] | None:
    return None if sizes is None else tuple(sizes)
