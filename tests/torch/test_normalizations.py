"""Formulas of normalizations against autograd, one example at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from batchgrad_workers.torch.formulas.base import Kind, Layout
from batchgrad_workers.torch.formulas.normalization import (
    FixedBatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    RMSNorm,
)
from tests.torch.one_call import Called, N, check, normal

GAIN_AND_SHIFT = ("weight", "bias")
Case = tuple[Kind, Callable[..., Any], tuple[int, ...], tuple[Any, ...], tuple[int, ...]]
CASES: dict[str, Case] = {
    "layer": (LayerNorm(), functional.layer_norm, (4,), ((4,),), (4,)),
    "layer over time": (LayerNorm(), functional.layer_norm, (3, 2, 4), ((4,),), (4,)),
    "layer of two axes": (LayerNorm(), torch.layer_norm, (3, 2, 4), ([2, 4],), (2, 4)),
    "rms": (RMSNorm(), functional.rms_norm, (3, 4), ((4,),), (4,)),
    "rms of two axes": (RMSNorm(), torch.rms_norm, (3, 4), ((3, 4),), (3, 4)),
    "group": (GroupNorm(), functional.group_norm, (6, 3, 2), (3,), (6,)),
    "group of a vector": (GroupNorm(), torch.group_norm, (6,), (2,), (6,)),
    "instance": (InstanceNorm(), functional.instance_norm, (3, 2, 4), (), (3,)),
    "fixed batch": (
        FixedBatchNorm(),
        functional.batch_norm,
        (3, 2, 4),
        (torch.tensor([0.5, 1.0, -1.0]), torch.tensor([0.5, 2.0, 1.0])),
        (3,),
    ),
    "fixed batch of vectors": (
        FixedBatchNorm(),
        functional.batch_norm,
        (3,),
        (torch.tensor([0.5, 1.0, -1.0]), torch.tensor([0.5, 2.0, 1.0])),
        (3,),
    ),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def call(name: str, roles: tuple[str, ...], layout: Layout, images: int = 1) -> Called:
    kind, function, inputs, options, shape = CASES[name]
    options = tuple(x.double() if isinstance(x, torch.Tensor) else x for x in options)
    if "rms" in name:
        roles = tuple(role for role in roles if role == "weight")
    x = 3 + normal(N * images, *inputs)
    x = x.movedim(0, layout.axis).contiguous()
    given = {role: normal(*shape) for role in roles}
    return Called(kind, function, x, *options, layout=layout, eps=0.3, **given)


def checked(called: Called) -> None:
    for role in called.arguments.parameters:
        check(lambda role=role: called.gradients(role), called.expected(role))  # type: ignore[misc]


@pytest.mark.parametrize("roles", [GAIN_AND_SHIFT, ("weight",)], ids=["both", "no shift"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_gains_and_shifts(name: str, roles: tuple[str, ...]) -> None:
    called = call(name, roles, Layout(0))
    assert "weight" in called.arguments.parameters
    checked(called)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("strided", [False, True])
def test_several_rows_of_an_example(name: str, strided: bool) -> None:
    checked(call(name, GAIN_AND_SHIFT, Layout(0, strided), images=2))


@pytest.mark.parametrize("name", ["layer over time", "rms"])
def test_examples_on_the_second_axis(name: str) -> None:
    called = call(name, GAIN_AND_SHIFT, Layout(1))
    assert called.kind.kept(called.arguments, called.result) == 1
    checked(called)


def test_default_epsilons() -> None:
    x, gain = 1e-3 * normal(N, 4), normal(4)
    checked(Called(RMSNorm(), functional.rms_norm, 1e-5 * x, (4,), gain))
    checked(Called(LayerNorm(), functional.layer_norm, x, (4,), gain))
    x = 1e-3 * normal(N, 4, 3)
    checked(Called(GroupNorm(), functional.group_norm, x, 2, gain))
    checked(Called(InstanceNorm(), functional.instance_norm, x, weight=gain))


def test_statistics_of_a_batch_are_left_to_others() -> None:
    x, mean, gain = normal(N, 4, 3), normal(4), normal(4)
    own = {"weight": gain, "training": True}
    assert FixedBatchNorm().arguments(functional.batch_norm, (x, mean, mean), own) is None
    own = {"weight": gain, "use_input_stats": False}
    assert InstanceNorm().arguments(functional.instance_norm, (x, mean, mean), own) is None
    assert InstanceNorm().arguments(functional.instance_norm, (x, mean, mean, gain), {}) is None
