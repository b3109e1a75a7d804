"""Convert a gradients request to a network, a minibatch and parameters, or refuse it."""

import numpy as np

from batchgrad.contract import GradientsRequest
from batchgrad.parsing.wording import short_repr
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.arrays import cast, numbers
from batchgrad_service.validation.memory import check_request_memory
from batchgrad_service.validation.shapes import build_network, check_ids, check_targets
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.example_weights import scaled
from batchgrad_workers.nn.gradients import Microbatch
from batchgrad_workers.nn.losses import LOSSES, target_rows
from batchgrad_workers.nn.network import Network


def read_request(request: GradientsRequest) -> tuple[Network, Microbatch, Array]:
    """Return the network, the minibatch and the parameters.

    Raises:
        InvalidError: a field does not fit; the error names it, its value and the remedy.
    """
    dtype = np.dtype(request.precision)
    inputs = numbers(request.inputs, "/inputs")
    if inputs.ndim < 2:
        raise InvalidError.field(
            "/inputs",
            f"inputs has shape {list(inputs.shape)}; expected one row per example, (n, …): "
            "put each example's numbers in a list.",
        )
    network = build_network(request.model, inputs.shape[1:])
    if network.takes_ids:
        check_ids(request.model, inputs, "/inputs")
    else:
        inputs = cast(inputs, "/inputs", dtype)
    targets = numbers(request.targets, "/targets")
    check_targets(request.loss, targets, examples=len(inputs), outputs=network.outputs)
    check_request_memory(request, network, len(inputs))
    weights = np.ones(len(inputs))
    if request.weights is not None:
        weights = numbers(request.weights, "/weights").astype(np.float64)
        _check_weights(weights, len(inputs))
        weights, _ = scaled(weights)
    loss = LOSSES[request.loss]
    if loss.target_kind != "class":
        targets = cast(targets, "/targets", dtype)
    rows = target_rows(loss, targets, network.outputs, dtype, request.label_smoothing)
    return network, Microbatch(inputs, rows, weights), _parameters(request, network)


def _check_weights(weights: Array, examples: int) -> None:
    if weights.shape != (examples,):
        raise InvalidError.field(
            "/weights",
            f"weights has shape {list(weights.shape)}; expected [{examples}]: one per example.",
        )
    negative = np.flatnonzero(weights < 0)
    if len(negative):
        raise InvalidError.field(
            f"/weights/{negative[0]}",
            f"weights[{negative[0]}] is {weights[negative[0]]}; weights must be at least 0.",
        )
    if not weights.any():
        raise InvalidError.field(
            "/weights",
            "All weights are 0, so there is no mean: give at least one example a positive weight.",
        )


def _parameters(request: GradientsRequest, network: Network) -> Array:
    if request.parameters is None:
        return network.initial_parameters(request.seed, request.precision)
    expected, got = {each.name for each in network.slices}, set(request.parameters)
    if expected != got:
        raise InvalidError.field(
            "/parameters",
            f"parameters has {short_repr(sorted(got))}; this network has {sorted(expected)}.",
        )
    flat = np.empty(network.size, request.precision)
    for each in network.slices:
        pointer = f"/parameters/{each.name}"
        value = cast(numbers(request.parameters[each.name], pointer), pointer, flat.dtype)
        if value.shape != each.shape:
            raise InvalidError.field(
                pointer,
                f"{each.name} has shape {list(value.shape)}; expected {list(each.shape)}.",
            )
        flat[each.start : each.start + each.size] = value.ravel()
    return flat
