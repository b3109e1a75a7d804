"""What a forward pass may not change: parameters and buffers."""

import torch
from torch import Tensor, nn

from batchgrad_workers.torch.preflight.culprit import OTHERWISE, instead, same


class State:
    """Copies of a module's parameters and buffers, put back when asked."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.kept = {name: tensor.detach().clone() for name, tensor in _all(module).items()}

    def restore(self) -> None:
        """Put the copies back."""
        with torch.no_grad():
            for name, tensor in _all(self.module).items():
                if name in self.kept and tensor.shape == self.kept[name].shape:
                    tensor.copy_(self.kept[name])

    def changed(self) -> str:
        """Words for a parameter or buffer that was changed, added or removed since; or none."""
        now = _all(self.module)
        for name in [*self.kept, *(name for name in now if name not in self.kept)]:
            before, after = self.kept.get(name), now.get(name)
            if before is not None and after is not None and _same(before, after):
                continue
            owner = name.rpartition(".")[0]
            kind = type(self.module.get_submodule(owner)).__name__
            what = "parameter" if name in dict(self.module.named_parameters()) else "buffer"
            advice = "" if instead(kind) == OTHERWISE else f" {instead(kind)}"
            return (
                f"The forward pass changes the {what} {name} of module {owner or 'itself'} "
                f"({kind}), so a gradient depends on what was computed before. Keep running "
                f"statistics and counters out of the forward pass.{advice}"
            )
        return ""


def _all(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(same(one, other, 0).all())
