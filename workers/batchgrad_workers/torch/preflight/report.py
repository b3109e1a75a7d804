"""What a preflight found: a record of plain values, for checkpoints and workers."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from batchgrad_workers.torch.tapping.calls import Trace

Path = Literal["together", "one_by_one"]


@dataclass(frozen=True)
class Parameter:
    """A parameter: its name, its shape, and whether it is trained."""

    name: str
    shape: tuple[int, ...]
    trainable: bool


@dataclass(frozen=True)
class Preflight:
    """How a module's per-example gradients are computed, and why.

    `uncovered` names parameters without formulas, which `together` leaves to autograd. `random`
    names the functions that draw by keys, `axes` where examples lie in each of these calls.
    `looks_at_data` says where the forward pass decides by numbers; `decisions` where it decides by
    whole numbers, also with two outcomes that gave the same losses. `trace` is that of `together`.
    """

    path: Path
    why: str
    uncovered: tuple[str, ...]
    random: tuple[str, ...]
    axes: tuple[int, ...]
    looks_at_data: tuple[str, ...]
    decisions: tuple[str, ...]
    trace: Trace | None
    parameters: tuple[Parameter, ...]
    fixed_bytes: int
    bytes_per_example: int
    warnings: tuple[str, ...]

    def memory_bytes(self, n: int) -> int:
        """About the bytes of a microbatch of n examples: saved tensors, and one gradient."""
        return self.fixed_bytes + self.bytes_per_example * (n if self.path == "together" else 1)

    @property
    def rounds(self) -> bool:
        """Whether another example in a batch may change how a row's numbers are rounded."""
        return bool(self.looks_at_data or self.decisions)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preflight":
        """From plain values, with lists in place of tuples."""
        given: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in values.items()
        }
        given["trace"] = None if values["trace"] is None else Trace.from_json(values["trace"])
        given["parameters"] = tuple(
            Parameter(each["name"], tuple(each["shape"]), each["trainable"])
            for each in values["parameters"]
        )
        return cls(**given)
