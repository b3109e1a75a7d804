"""Formulas of convolutions against autograd, one example at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from batchgrad_workers.torch.formulas import conv_gradients
from batchgrad_workers.torch.formulas.base import Layout
from batchgrad_workers.torch.formulas.conv import Convolution
from batchgrad_workers.torch.formulas.conv_gradients import OfWeight
from tests.torch.one_call import Called, N, check, normal

KIND = Convolution()
CASES: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": (functional.conv2d, (3, 6, 5), (4, 3, 3, 2), {}),
    "stride": (functional.conv2d, (3, 7, 5), (4, 3, 2, 2), {"stride": (3, 2)}),
    "padding": (functional.conv2d, (3, 4, 4), (4, 3, 3, 3), {"padding": (2, 1)}),
    "dilation": (functional.conv2d, (2, 8, 6), (4, 2, 3, 2), {"dilation": (2, 3), "padding": 1}),
    "groups": (functional.conv2d, (4, 5, 5), (6, 2, 3, 3), {"groups": 2, "stride": 2}),
    "channels": (functional.conv2d, (4, 4, 4), (8, 1, 3, 3), {"groups": 4}),
    "valid": (functional.conv2d, (2, 4, 4), (3, 2, 2, 2), {"padding": "valid"}),
    "same": (functional.conv2d, (2, 4, 4), (3, 2, 3, 3), {"padding": "same"}),
    "same, even": (functional.conv1d, (2, 6), (3, 2, 4), {"padding": "same", "dilation": 3}),
    "one axis": (functional.conv1d, (3, 9), (4, 3, 3), {"stride": 2, "padding": (2,)}),
    "three axes": (functional.conv3d, (2, 4, 3, 5), (4, 1, 2, 3, 2), {"groups": 2, "padding": 1}),
    "transposed": (functional.conv_transpose2d, (3, 3, 4), (3, 4, 3, 2), {"stride": 2}),
    "transposed, 1": (functional.conv_transpose1d, (2, 5), (2, 4, 3), {"dilation": 2}),
    "transposed, 3": (functional.conv_transpose3d, (2, 2, 3, 2), (2, 2, 2, 2, 2), {"padding": 1}),
    "transposed, all": (
        functional.conv_transpose2d,
        (4, 3, 3),
        (4, 3, 3, 3),
        {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "dilation": 2},
    ),
    "few places": (functional.conv2d, (16, 2, 2), (64, 16, 3, 3), {"padding": 1}),
    "few, strided": (functional.conv1d, (16, 5), (16, 16, 4), {"stride": 2, "padding": 1}),
    "few, groups": (functional.conv2d, (16, 2, 1), (32, 8, 3, 3), {"padding": 1, "groups": 2}),
    "few, three axes": (functional.conv3d, (8, 2, 1, 2), (16, 8, 3, 1, 3), {"padding": (1, 0, 1)}),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def call(name: str, images: int = 1, *, biased: bool = True) -> Called:
    function, inputs, weight, options = CASES[name]
    out = weight[0] if "transposed" not in name else weight[1] * options.get("groups", 1)
    bias = normal(out) if biased else None
    args = normal(N * images, *inputs), normal(*weight), bias
    return Called(KIND, function, *args, **options)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_weights_and_biases(name: str) -> None:
    called = call(name)
    for role in ("weight", "bias"):
        check(lambda role=role: called.gradients(role), called.expected(role))  # type: ignore[misc]
    assert set(call(name, biased=False).arguments.parameters) == {"weight"}


@pytest.mark.parametrize("name", ["groups", "few places", "transposed"])
@pytest.mark.parametrize("strided", [False, True])
def test_several_images_of_an_example(name: str, strided: bool) -> None:
    called = call(name, images=3)
    called.layout = Layout(0, strided)
    for role in ("weight", "bias"):
        check(lambda role=role: called.gradients(role), called.expected(role))  # type: ignore[misc]


@pytest.mark.parametrize(("name", "formed"), [("plain", True), ("few places", False)])
def test_uses_of_one_weight_are_joined(name: str, formed: bool) -> None:
    calls = [call(name), call(name, images=2)]

    def joined() -> OfWeight:
        first, second = (called.gradients("weight") for called in calls)
        both = first.join([second])
        assert isinstance(both, OfWeight)
        return both

    assert joined()._few_places() is not formed
    check(joined, sum(called.expected("weight") for called in calls))


def test_other_uses_of_a_weight_are_not_joined() -> None:
    bias = call("plain").gradients("bias")
    assert call("plain").gradients("weight").join([bias]) is None


def test_gradients_that_are_many_bytes_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_gradients, "KEPT_BYTES", 100)
    called = call("plain")
    check(lambda: called.gradients("weight"), called.expected("weight"))


def cancelling(scale: float) -> tuple[OfWeight, Tensor]:
    """One image whose two places see equal patches and have nearly opposite errors, in float32."""
    inputs, weight = torch.ones(1, 64, 1, 2), torch.zeros(64, 64, 1, 1)
    called = Called(KIND, functional.conv2d, inputs, weight, n=1)
    error = torch.full((1, 64, 1, 1), scale)
    called.error = torch.cat([error, -error * (1 + 2.0**-20)], 3)
    found = called.gradients("weight")
    assert isinstance(found, OfWeight)
    assert found._few_places()
    return found, called.expected("weight").double().square().sum((1, 2, 3, 4))


@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-18])
def test_norms_hold_where_products_cancel(scale: float) -> None:
    found, expected = cancelling(scale)
    torch.testing.assert_close(found.squared_norms(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("size", "scale"), [(1, 1e-30), (1, 1e-22), (1e-22, 1), (1, 1e25), (1e12, 1e12)]
)
def test_norms_hold_where_products_leave_the_range(size: float, scale: float) -> None:
    inputs, weight = size * torch.randn(2, 64, 1, 2), torch.zeros(64, 64, 1, 1)
    called = Called(KIND, functional.conv2d, inputs, weight, n=2)
    called.error *= scale
    expected = called.expected("weight").double().square().flatten(1).sum(1)
    found = called.gradients("weight").squared_norms()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_an_image_without_an_axis_of_examples_is_left_to_others() -> None:
    args = normal(3, 6, 5), normal(4, 3, 3, 2), None
    assert KIND.arguments(functional.conv2d, args, {}) is None
