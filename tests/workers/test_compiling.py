"""Compiled loops: the same bits at any memory alignment, and the CPU that they are built for."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Model
from batchgrad_workers.nn.kernels.jit import compiled
from batchgrad_workers.nn.layers import Layer
from batchgrad_workers.nn.losses import softmax_cross_entropy
from batchgrad_workers.nn.network import Network
from batchgrad_workers.runtime.build_info import build_info

ROWS, WIDTH, OUTPUTS = 17, 37, 11


def layer(kind: str, **fields: int) -> Layer:
    model = Model.model_validate({"layers": [{"kind": kind, **fields}]})
    return Network(model, (WIDTH,)).layers[0]


def numbers(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def moved(array: Any, by: int) -> Any:
    """The same numbers, `by` numbers away from where memory is aligned."""
    room = np.empty(array.size + by, array.dtype)
    room[by:] = array.reshape(-1)
    return room[by:].reshape(array.shape)


def printed(*words: str, **environment: str) -> str:
    """What a process of Python prints, with these words on its command line."""
    process = subprocess.run(
        [sys.executable, *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("by", [1, 3, 7])
def test_bits_do_not_depend_on_where_arrays_lie(by: int) -> None:
    linear = layer("linear", out_features=OUTPUTS)
    arrays = numbers(ROWS, WIDTH), numbers(ROWS, OUTPUTS), numbers(ROWS)

    def sums(inputs: Any, error: Any, weights: Any) -> list[bytes]:
        into = {"weight": numbers(OUTPUTS, WIDTH), "bias": numbers(OUTPUTS)}
        norms = linear.gradient_sums(inputs, error, weights, into)
        return [norms.tobytes(), *(array.tobytes() for array in into.values())]

    assert sums(*arrays) == sums(*(moved(array, by) for array in arrays))


def test_relu_lets_nan_through_and_keeps_the_order_of_memory() -> None:
    relu = layer("relu")
    a = np.asfortranarray(np.array([[np.nan, -np.inf, -1], [-0.0, 2, np.inf]], np.float32))

    z = relu.forward({}, a)
    below = relu.backward({}, a, z, np.arange(6, dtype=np.float32).reshape(2, 3))

    np.testing.assert_array_equal(z, [[np.nan, 0, 0], [0, 2, np.inf]])
    np.testing.assert_array_equal(below, [[0, 0, 0], [0, 4, 5]])
    assert z.strides == below.strides == a.strides


def test_a_non_finite_output_reaches_loss_and_error() -> None:
    losses, error = softmax_cross_entropy(np.array([[0.0, np.nan], [0.0, 0.0]]), np.eye(2))

    assert np.isnan(losses[0])
    assert np.isnan(error[0]).all()
    assert np.isfinite(losses[1])


PATIENCE = 20_000_000_000


@compiled
def wait(flag: Any, turns: Any) -> None:
    while flag[0] == 0 and turns[0] < PATIENCE:
        turns[0] += 1


def test_other_threads_run_meanwhile() -> None:
    flag, turns = np.ones(1, np.int64), np.zeros(1, np.int64)
    wait(flag, turns)  # compiled here
    flag[0] = 0
    thread = Thread(target=wait, args=(flag, turns))
    thread.start()
    flag[0] = 1  # with the GIL, the loop would have come to its end before
    thread.join()
    assert turns[0] < PATIENCE


def test_where_no_machine_code_can_be_kept_it_is_compiled_anew() -> None:
    code = (
        "import numpy as np; from batchgrad_workers.nn.losses import softmax_cross_entropy;"
        "print(softmax_cross_entropy(np.zeros((1, 2)), np.eye(2)[:1])[0])"
    )
    assert printed("-c", code, NUMBA_CACHE_DIR="/dev/null/nowhere") == "[0.69314718]\n"


def test_without_compilation_networks_go_by_layers() -> None:
    code = (
        "import batchgrad_workers.nn.gradients;"
        "from batchgrad_workers.nn.dense import products; print(products.AVAILABLE)"
    )
    assert printed("-c", code, NUMBA_DISABLE_JIT="1") == "False\n"


CALLER = """
import sys
sys.path.insert(0, sys.argv[1])
from called import number
from batchgrad_workers.nn.kernels.jit import compiled

@compiled
def twice() -> int:
    return 2 * number()

print(twice(), sum(twice.stats.cache_hits.values()))
"""
CALLED = """
from batchgrad_workers.nn.kernels.jit import compiled

@compiled
def number() -> int:
    return {}
"""


def test_a_loop_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    caller, called = tmp_path / "caller.py", tmp_path / "called.py"
    caller.write_text(CALLER)
    said = []
    for value in (1, 1, 10):
        if not called.exists() or str(value) not in called.read_text():
            called.write_text(CALLED.format(value))
        kept = str(tmp_path / "kept")
        said.append(printed(str(caller), str(tmp_path), NUMBA_CACHE_DIR=kept).split())
    assert said == [["2", "0"], ["2", "1"], ["20", "0"]]


def test_a_build_tells_for_which_cpu_loops_are_compiled() -> None:
    """Their additions are grouped for its vectors, so another CPU may compute other bits."""
    code = "from batchgrad_workers.runtime.build_info import build_info; print(build_info()['cpu'])"
    said = printed("-c", code, NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="-avx")
    assert said.startswith("nehalem")
    assert said.strip() != build_info()["cpu"]
    assert said.split()[-1] != build_info()["cpu"].split()[-1]
