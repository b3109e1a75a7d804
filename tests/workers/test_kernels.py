"""Every compiled loop against its definition, on drawn shapes and values."""

import ast
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.extending import is_jitted

import batchgrad_engine
import batchgrad_service
import batchgrad_workers
from batchgrad_workers.nn import dense, kernels
from batchgrad_workers.nn.kernels.jit import KERNELS, Kernel
from batchgrad_workers.nn.layers.windows import Windows

MODULES = [
    import_module(f"{kernels.__name__}.{module.name}")
    for module in pkgutil.iter_modules(kernels.__path__)
]
COMPOSED = Path(*dense.__path__)
"""Whole passes, made of kernels and products; test_dense.py holds them against the layers."""

LONG = 1500
"""More numbers than a loop adds up in one accumulator."""


def compiled_loops() -> set[Any]:
    return {own for module in MODULES for own in vars(module).values() if is_jitted(own)}


def test_every_compiled_loop_is_a_kernel_with_a_definition() -> None:
    assert compiled_loops() == {each.loop for each in KERNELS.values()}
    assert len(KERNELS) > 20


@pytest.mark.parametrize("package", [batchgrad_workers, batchgrad_engine, batchgrad_service])
def test_loops_are_compiled_among_the_kernels_only(package: Any) -> None:
    (folder,) = map(Path, package.__path__)
    outside = [
        path
        for path in folder.rglob("*.py")
        if path.parent not in {Path(*kernels.__path__), COMPOSED}
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.alias) and node.name in {"njit", "jit", "compiled", "kernel"})
        or (
            isinstance(node, ast.Attribute)
            and node.attr in {"njit", "jit"}
            and ast.unparse(node) != "torch.jit"  # which compiles no loop of ours
        )
    ]
    assert outside == []


def draw_sizes(random: np.random.Generator, where: Mapping[str, Any]) -> dict[str, Any]:
    """A size for each letter, and the geometry of windows over images."""
    sizes: dict[str, Any] = {letter: int(random.integers(1, 7)) for letter in "ntiopmsg"}
    if random.integers(4) == 0:
        sizes[random.choice(list("opim"))] = LONG
    kernel, dilation = random.integers(1, 4, 2), random.integers(1, 3, 2)
    dilation = np.broadcast_to(where.get("dilation", dilation), 2)
    spans, padding = dilation * (kernel - 1) + 1, random.integers(0, kernel // 2 + 1)
    height, width = (random.integers(0, 5, 2) + np.maximum(spans - 2 * padding, 1)).tolist()
    channels = int(random.integers(1, 7))
    sizes |= {"h": height, "w": width, "c": channels * sizes["g"]}
    stride = random.integers(1, 4, 2)
    windows = Windows(
        (sizes["c"], height, width),
        *(tuple(each.tolist()) for each in (kernel, stride, padding, dilation)),
    )
    sizes["y"], sizes["x"] = windows.output_size
    sizes["k"] = channels * prod(windows.kernel) + int(random.integers(2))
    return {**sizes, "geometry": windows.geometry}


def size_of(side: str, sizes: Mapping[str, Any]) -> int:
    """Of "o*i+1", for one."""
    terms = [
        [int(factor) if factor.isdigit() else sizes[factor] for factor in term.split("*")]
        for term in side.split("+")
    ]
    return sum(prod(term) for term in terms)


def shapes_of(text: str, sizes: Mapping[str, Any]) -> dict[str, tuple[int, ...] | None]:
    """Names and shapes in one side of a signature; None for what has no shape."""
    return {
        name: tuple(size_of(side, sizes) for side in sides.split(", ")) if sides else None
        for name, sides in re.findall(r"(\w+)(?: \(([^)]*)\))?", text)
    }


def taken(function: Callable[..., Any], arguments: Mapping[str, Any]) -> list[Any]:
    """Those arguments that `function` names."""
    return [arguments[name] for name in inspect.signature(function).parameters if name in arguments]


def draw(of: Kernel, random: np.random.Generator, dtype: Any) -> tuple[dict[str, Any], list[str]]:
    """Arguments for the loop, and the names of those that it writes."""
    sizes = draw_sizes(random, of.where)
    reads, _, writes = of.signature.partition(" -> ")
    shapes = shapes_of(reads, sizes) | shapes_of(writes, sizes)
    types = inspect.get_annotations(inspect.unwrap(of.loop))
    arguments: dict[str, Any] = {}
    for name, shape in shapes.items():
        wide = np.float64 if "float64" in str(types[name]) else dtype
        if shape is not None:
            numbers = random.normal(size=shape)
            if random.integers(2):
                numbers = numbers.round()  # many of them equal, or 0
            arguments[name] = numbers.astype(wide)
        elif types[name] is bool:
            arguments[name] = bool(random.integers(2))
        else:
            arguments[name] = sizes.get(name, dtype(random.uniform(0.1, 0.9)))
    for name, rule in of.where.items():
        if name in arguments:
            found = rule(*taken(rule, arguments))
            drawn = arguments[name]
            floats = isinstance(drawn, np.ndarray) and found.dtype.kind == "f"
            arguments[name] = found.astype(drawn.dtype) if floats else found
    given_to_definition = inspect.signature(of.definition).parameters
    for name in shapes_of(writes, sizes):
        if name not in given_to_definition and name not in of.where:
            arguments[name][...] = np.nan  # whatever was there before
    return arguments, list(shapes_of(writes, sizes))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_a_kernel_is_its_definition(name: str, dtype: Any, seed: int) -> None:
    of = KERNELS[name]
    arguments, written = draw(of, np.random.default_rng(seed), dtype)
    assert list(arguments) == list(inspect.signature(of.loop).parameters)
    wide = {
        key: each.astype(np.float64) if getattr(each, "dtype", None) == dtype else each
        for key, each in arguments.items()
    }
    expected = of.definition(*taken(of.definition, wide))

    returned = of.loop(*arguments.values())

    found = [arguments[key] for key in written] + ([] if returned is None else [returned])
    expected = expected if isinstance(expected, tuple) else (expected,)
    tolerance = 1e-4 if dtype is np.float32 else 1e-11
    for one, right in zip(found, expected, strict=True):
        assert np.shape(one) == np.shape(right)
        size = np.abs(right).max(initial=0.0) if np.ndim(right) else 0.0
        np.testing.assert_allclose(one, right, rtol=tolerance, atol=tolerance * (size or 1.0))
