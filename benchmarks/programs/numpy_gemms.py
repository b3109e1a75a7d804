"""The matrix products of one step by numpy, into preallocated memory, and nothing else.

For a layer with inputs (rows, i) and errors (rows, o): forward, the weights' gradient, and, but
for the first layer, the error at its input. A convolution's rows are its positions, its inputs
its patches. `--method blas` leaves threads to BLAS; `halves` gives each thread its rows. OpenBLAS's
kernels are those that ours take, which on some CPUs are faster than its own choice.
"""

import batchgrad_workers  # noqa: F401  # it chooses the kernels, so it must come before numpy

# isort: split
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse
from benchmarks.workloads import Workload


def shapes(workload: Workload) -> list[tuple[int, int, int]]:
    """(positions per example, i, o) of every layer with a weight matrix."""
    found: list[tuple[int, int, int]] = []
    shape = workload.input_shape
    for layer in workload.layers:
        match layer["kind"]:
            case "linear":
                found.append((1, shape[-1], layer["out_features"]))
                shape = (layer["out_features"],)
            case "conv2d":
                if layer["kernel_size"] != 2 * layer["padding"] + 1:
                    raise ValueError("Only convolutions that keep the image's size are counted.")
                patch = shape[0] * layer["kernel_size"] ** 2
                found.append((shape[1] * shape[2], patch, layer["out_channels"]))
                shape = (layer["out_channels"], *shape[1:])
            case "max_pool2d":
                side = layer["kernel_size"]
                shape = (shape[0], shape[1] // side, shape[2] // side)
            case "flatten":
                shape = (math.prod(shape),)
    return found


def products(workload: Workload, examples: int) -> Callable[[], None]:
    """A function that computes the products of `examples` rows of a minibatch."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return random.standard_normal(shape, dtype=np.float32)

    steps: list[tuple[Any, Any, Any]] = []
    for index, (positions, i, o) in enumerate(shapes(workload)):
        rows = examples * positions
        inputs, errors, weight = normal(rows, i), normal(rows, o), normal(o, i)
        steps.append((inputs, weight.T, np.empty_like(errors)))
        steps.append((errors.T, inputs, np.empty_like(weight)))
        if index:
            steps.append((errors, weight, np.empty_like(inputs)))

    def step() -> None:
        for left, right, into in steps:
            np.matmul(left, right, out=into)

    return step


def main() -> None:
    """Run bursts of matrix products until stdin ends."""
    workload, threads, method = parse(("blas", "halves"))
    versions = {"numpy": np.__version__}
    if method == "blas":
        with threadpool_limits(threads):
            serve(Bursts(products(workload, workload.batch_size)).run, versions)
        return
    parts = [products(workload, workload.batch_size // threads) for _ in range(threads)]
    with threadpool_limits(1), ThreadPoolExecutor(threads - 1) as pool:

        def step() -> None:
            others = [pool.submit(part) for part in parts[1:]]
            parts[0]()
            for other in others:
                other.result()

        serve(Bursts(step).run, versions)


if __name__ == "__main__":
    main()
