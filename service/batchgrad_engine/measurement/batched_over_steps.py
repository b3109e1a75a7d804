"""Forward and backward passes of several steps at once, each at its own θ: arrays (s, …).

Symbols as in `batchgrad_workers.nn.layers`; s is the step. A step's results have the same bits
for any number of steps.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.layers import Layer, Parameters
from batchgrad_workers.nn.layers.linear import Linear
from batchgrad_workers.nn.network import Network

Kind = TypeVar("Kind", bound="np.generic[Any]")


def stack(arrays: Sequence[npt.NDArray[Kind]]) -> npt.NDArray[Kind]:
    """(s, …) from one array per step; a view if there is only one."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def views(network: Network, flat: Array) -> list[Parameters]:
    """One mapping per layer, local name to a view of `flat` (s, P) as (s, *shape)."""
    found: list[dict[str, Array]] = [{} for _ in network.layers]
    for each in network.slices:
        part = flat[:, each.start : each.start + each.size]
        found[each.layer][each.local_name] = part.reshape(-1, *each.shape)
    return list(found)


def on_vectors(layer: Layer) -> bool:
    """True for a linear layer on vectors: z_sno = Σ_i W_soi a_sni + b_so."""
    return isinstance(layer, Linear) and len(layer.input_shape) == 1


def forward(layer: Layer, parameters: Parameters, inputs: Array) -> Array:
    """Outputs (s, n, …) from inputs (s, n, …)."""
    if on_vectors(layer):
        outputs = np.matvec(parameters["weight"][:, None], inputs)
        if "bias" in parameters:
            outputs += parameters["bias"][:, None]
        return outputs
    return _by_step(layer.forward, layer, parameters, inputs)


def backward(
    layer: Layer, parameters: Parameters, inputs: Array, outputs: Array, error: Array
) -> Array:
    """Error (s, n, …) at the layer's input, from the error at its output."""
    if on_vectors(layer):
        return np.vecmat(error, parameters["weight"][:, None])
    return _by_step(layer.backward, layer, parameters, inputs, outputs, error)


def _by_step(
    work: Callable[..., Array], layer: Layer, parameters: Parameters, *arrays: Array
) -> Array:
    """Call `work` per step, or, for a layer without parameters, once for all steps' examples."""
    steps, examples = arrays[0].shape[:2]
    if not layer.parameter_shapes:
        merged = work({}, *(each.reshape(steps * examples, *each.shape[2:]) for each in arrays))
        return merged.reshape(steps, examples, *merged.shape[1:])
    own = ({name: part[s] for name, part in parameters.items()} for s in range(steps))
    return stack([work(of, *(each[s] for each in arrays)) for s, of in enumerate(own)])
