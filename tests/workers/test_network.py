"""Names, places and the digest of a network's parameters."""

import hashlib
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Model
from batchgrad_workers.nn.network import LayerMismatch, Network

SMALL: list[dict[str, Any]] = [
    {"kind": "flatten"},
    {"kind": "linear", "out_features": 3},
    {"kind": "relu"},
    {"kind": "linear", "out_features": 2, "bias": False},
]


def network(layers: list[dict[str, Any]], *input_shape: int) -> Network:
    return Network(Model.model_validate({"layers": layers}), input_shape)


def test_names_and_shapes_are_those_of_a_torch_sequential() -> None:
    bound = network(SMALL, 2, 2)

    assert [(each.name, each.shape) for each in bound.slices] == [
        ("1.weight", (3, 4)),
        ("1.bias", (3,)),
        ("3.weight", (2, 3)),
    ]
    assert bound.size == 12 + 3 + 6
    assert bound.learning == [1, 3]
    assert [each.start for each in bound.slices] == [0, 12, 15]


def test_views_share_theta_s_memory() -> None:
    bound, theta = network(SMALL, 2, 2), np.arange(21.0)

    bound.views(theta)[3]["weight"][1, 2] = -1
    bound.named(theta)["1.bias"][0] = -2

    assert theta[20] == -1
    assert theta[12] == -2


def test_a_layer_that_does_not_fit_is_numbered() -> None:
    with pytest.raises(LayerMismatch, match=r"shape \[2, 2\].*\(n, channels, height") as caught:
        network([{"kind": "relu"}, {"kind": "max_pool2d", "kernel_size": 1}], 2, 2)

    assert caught.value.place == (1,)


def test_layers_inside_of_a_block_are_named_and_numbered_by_the_way_to_them() -> None:
    linear = {"kind": "linear", "out_features": 2}
    inner = {"kind": "residual", "layers": [{"kind": "tanh"}, linear]}
    of = network([linear, {"kind": "residual", "layers": [linear, inner]}, linear], 2)

    assert of.names == ["0", "1.0", "1.1.0", "1.1.1", "1.1", "1", "2"]
    assert [each.name for each in of.slices][2:6] == [
        "1.0.weight",
        "1.0.bias",
        "1.1.1.weight",
        "1.1.1.bias",
    ]
    wide = {"kind": "linear", "out_features": 3}
    with pytest.raises(LayerMismatch, match=r"shape \[2\].*shape \[3\].*give \[2\]") as caught:
        network([linear, {"kind": "residual", "layers": [linear, {**inner, "layers": [wide]}]}], 2)
    assert caught.value.place == (1, 1)


def test_the_digest_is_sha_256_of_name_dtype_shape_and_little_endian_bytes() -> None:
    layers: list[dict[str, Any]] = [{"kind": "linear", "out_features": 2}, {"kind": "tanh"}]
    theta = np.array([1.0, 2.0, 3.0, 4.0, 0.5, -0.5], np.float32)
    by_hand = hashlib.sha256(
        b"0.weight\0float32\0[2, 2]\0"
        + bytes.fromhex("0000803f000000400000404000008040")
        + b"0.bias\0float32\0[2]\0"
        + bytes.fromhex("0000003f000000bf")
    )

    digest = network(layers, 2).digest(theta)

    assert digest == "sha256:" + by_hand.hexdigest()
    assert digest == network(layers, 2).digest(theta.astype(">f4"))


def test_the_digest_sees_values_names_dtypes_and_shapes() -> None:
    theta = np.zeros(6)
    other = theta.copy()
    other[5] = -0.0
    linear = {"kind": "linear", "out_features": 2}
    digests = [
        network([linear], 2).digest(theta),
        network([linear], 2).digest(other),
        network([linear], 2).digest(theta.astype(np.float32)),
        network([{"kind": "identity"}, linear], 2).digest(theta),
        network([{**linear, "bias": False}], 3).digest(theta),
        network([{"kind": "linear", "out_features": 3, "bias": False}], 2).digest(theta),
    ]

    assert len(set(digests)) == 6
