"""The kinds of calls that have formulas, by torch function."""

from collections.abc import Callable
from typing import Any

from batchgrad_workers.torch.formulas.base import Kind
from batchgrad_workers.torch.formulas.broadcast import Broadcast, Expand, PReLU
from batchgrad_workers.torch.formulas.contraction import Einsum, StackProduct
from batchgrad_workers.torch.formulas.conv import Convolution
from batchgrad_workers.torch.formulas.embedding import Embedding, EmbeddingBag
from batchgrad_workers.torch.formulas.linear import AddMm, LeftProduct, Linear, RightProduct
from batchgrad_workers.torch.formulas.normalization import (
    FixedBatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    RMSNorm,
)

KINDS: tuple[Kind, ...] = (
    Linear(),
    AddMm(),
    RightProduct(),
    LeftProduct(),
    Embedding(),
    EmbeddingBag(),
    Broadcast(),
    Expand(),
    PReLU(),
    Einsum(),
    StackProduct(),
    Convolution(),
    LayerNorm(),
    RMSNorm(),
    GroupNorm(),
    InstanceNorm(),
    FixedBatchNorm(),
)

BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}


def kinds_of(function: Callable[..., Any]) -> list[Kind]:
    """The kinds that may know a call of `function`, in the order in which they are asked."""
    return [kind for kind in KINDS if function in kind.functions]
