"""The memory of one step, measured in a separate process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad_workers.nn.chunks import CHUNK_BYTES

MIB = 2**20
FLOAT = 4
WIDE: dict[str, Any] = {"kind": "conv2d", "out_channels": 16, "kernel_size": 5, "padding": 2}


def step(directory: Path, inputs: Any, layers: list[dict[str, Any]], microbatch: int) -> Any:
    """One float32 step over all `inputs` with norms and shortcuts: what the process says of it."""
    np.save(directory / "inputs.npy", inputs)
    np.save(directory / "targets.npy", np.arange(len(inputs)) % 10)
    script = Path(__file__).parent / "step_memory.py"
    command = [sys.executable, str(script), json.dumps({"layers": layers}), str(directory)]
    numbers = [str(len(inputs)), str(microbatch)]
    done = subprocess.run([*command, *numbers], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["finite"]
    assert found["examples"] == len(inputs)
    return found


def test_a_step_on_4096_examples_at_once_takes_under_60_mib(tmp_path: Path) -> None:
    """Of 784-512-512-10; N x P numbers would be 10 GiB."""
    inputs = np.random.default_rng(0).normal(size=(4096, 784)).astype(np.float32)
    layers: list[dict[str, Any]] = [
        {"kind": "linear", "out_features": 512},
        {"kind": "relu"},
        {"kind": "linear", "out_features": 512},
        {"kind": "relu"},
        {"kind": "linear", "out_features": 10},
    ]

    found = step(tmp_path, inputs, layers, 4096)

    # The dataset's own pages, mapped from the file, are in `grown` as well.
    assert found["grown"] - inputs.nbytes < 60 * MIB
    assert found["grown"] > 1024 * (784 + 4 * 512) * FLOAT  # it did look at whole runs


def test_a_convolution_stays_within_activations_sums_and_the_budget(tmp_path: Path) -> None:
    """The patches of the second one would be 153 MiB, N x P numbers for every example 10 times so.

    Numbers an example: 784 pixels, twice 16 x 784 after each convolution and its activation,
    16 x 196 after the pool, 10. While errors go down, one stands at a layer's output and
    one is made at its input, with at most as much again on the way.
    """
    inputs = np.random.default_rng(0).normal(size=(256, 1, 28, 28)).astype(np.float32)
    layers: list[dict[str, Any]] = [
        WIDE,
        {"kind": "relu"},
        WIDE,
        {"kind": "relu"},
        {"kind": "max_pool2d", "kernel_size": 2},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 10},
    ]
    largest = 16 * 784
    activations = 128 * FLOAT * (784 + 4 * largest + 16 * 196 + 10)
    errors = 128 * FLOAT * 3 * largest

    found = step(tmp_path, inputs, layers, 128)

    means = FLOAT * (784 + 4 * largest + 2 * 16 * 196 + 2 * largest + 30)
    sums = 3 * (2 * FLOAT * found["parameters"] + means)  # two microbatches, one joined
    bound = inputs.nbytes + activations + errors + sums + 2 * CHUNK_BYTES
    assert found["grown"] < bound
    assert bound < 128 * FLOAT * 16 * 25 * 784  # the patches alone, all at once
