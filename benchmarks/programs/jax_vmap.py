"""JAX: jit of vmap(grad) over the minibatch, then the mean and every example's norm."""

from typing import Any

import jax
import numpy as np
from jax import lax, nn
from jax import numpy as jnp

from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse, use_cores
from benchmarks.workloads import Minibatches, Workload, data

WINDOW = (1, 1, 2, 2)


def main() -> None:
    workload, threads, _ = parse()
    use_cores(threads)  # before its first use: JAX sizes its pools by the cores it may use
    layers = workload.layers

    def loss(parameters: list[Any], example: Any, target: Any) -> Any:
        remaining, values = list(parameters), example
        for layer in layers:
            weights = remaining.pop(0) if layer["kind"] in {"linear", "conv2d"} else None
            values = apply(layer, weights, values)
        return -nn.log_softmax(values)[target]

    @jax.jit  # type: ignore[untyped-decorator]
    def mean_and_norms(parameters: list[Any], inputs: Any, targets: Any) -> Any:
        gradients = jax.vmap(jax.grad(loss), (None, 0, 0))(parameters, inputs, targets)
        leaves = jax.tree.leaves(gradients)
        squared = sum(jnp.square(g).reshape(len(g), -1).sum(1) for g in leaves)
        return jax.tree.map(lambda g: g.mean(0), gradients), jnp.sqrt(squared)

    parameters = jax.tree.map(jnp.asarray, initial(workload))
    inputs, targets = data(workload)
    order = Minibatches(workload)

    def step() -> None:
        ids = order.next()
        jax.block_until_ready(mean_and_norms(parameters, inputs[ids], targets[ids]))

    serve(Bursts(step).run, {"jax": jax.__version__})


def apply(layer: dict[str, Any], weights: tuple[Any, Any] | None, values: Any) -> Any:
    """One layer on one example; `weights` is (weight, bias) where it has them."""
    match layer["kind"], weights:
        case "linear", (weight, bias):
            return weight @ values + bias
        case "conv2d", (weight, bias):
            return lax.conv(values[None], weight, (1, 1), "SAME")[0] + bias[:, None, None]
        case "max_pool2d", None:
            return lax.reduce_window(values[None], -jnp.inf, lax.max, WINDOW, WINDOW, "VALID")[0]
        case "flatten", None:
            return values.reshape(-1)
        case "relu", None:
            return nn.relu(values)
        case other:
            raise ValueError(f"No JAX layer is known here for {other!r}.")


def initial(workload: Workload) -> list[tuple[Any, Any]]:
    """(weight, bias) of every layer with parameters, drawn small."""
    random = np.random.default_rng(0)
    found: list[tuple[Any, Any]] = []
    shape = workload.input_shape
    for layer in workload.layers:
        match layer["kind"]:
            case "linear":
                wanted: tuple[int, ...] = (layer["out_features"], *shape)
                shape = wanted[:1]
            case "conv2d":
                side = layer["kernel_size"]
                wanted = (layer["out_channels"], shape[0], side, side)
                shape = (layer["out_channels"], *shape[1:])
            case "max_pool2d":
                shape = (shape[0], shape[1] // 2, shape[2] // 2)
                continue
            case "flatten":
                shape = (int(np.prod(shape)),)
                continue
            case _:
                continue
        bound = 1 / np.sqrt(np.prod(wanted[1:]))
        weight = random.uniform(-bound, bound, wanted).astype(np.float32)
        found.append((weight, np.zeros(wanted[0], np.float32)))
    return found


if __name__ == "__main__":
    main()
