"""The part of a PyTorch job that its workers need; it imports no PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchgrad.contract import SHORTCUT_NAMES, JobModel, ShortcutName
from batchgrad_workers.arrays import Array
from batchgrad_workers.user_code.sources import CodeSource


class BadModule(ValueError):
    """A module can't be built, or can't be trained on this dataset."""


class BadTensors(BadModule):
    """The given values of parameters and buffers are not those of the module."""


@dataclass(frozen=True)
class ModuleConfig:
    """A model in PyTorch: its function, how its sums are computed, values that are not trained.

    `preflight` is what the engine found out about the module, as plain values. `unavailable` says
    which shortcuts it has not, and why. `weighted`: the task weights examples. `state` holds given
    values of frozen parameters and buffers, by name. `source_digest` and `build` are the engine's;
    a worker with other ones is refused. `device` is cpu or cuda.
    """

    model: JobModel
    code: CodeSource | None
    preflight: Mapping[str, Any]
    unavailable: Mapping[ShortcutName, str]
    weighted: bool
    state: Mapping[str, Array]
    source_digest: str
    build: Mapping[str, str]
    device: str = "cpu"

    @property
    def shortcuts(self) -> tuple[ShortcutName, ...]:
        """Those that the module has."""
        return tuple(name for name in SHORTCUT_NAMES if name not in self.unavailable)

    def recorded(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: plain values."""
        return {"preflight": dict(self.preflight), "source_digest": self.source_digest}
