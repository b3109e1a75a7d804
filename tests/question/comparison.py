"""Compare an answer with a reference, field by field."""

from typing import Any

import numpy as np

from batchgrad.contract import GradientsResponse

Figures = dict[str, Any]


def flat(nested: Any) -> Any:
    """Numbers of a named gradient (by name, in the order "0.weight", "0.bias", …) or a list."""
    if isinstance(nested, dict):
        names = sorted(nested, key=_place)
        parts = [np.ravel(nested[name]) for name in names]
        return np.concatenate(parts) if parts else np.empty(0)
    return np.ravel(nested)


def _place(name: str) -> tuple[list[int], bool]:
    *layer, local = name.split(".")
    return [int(part) for part in layer], local == "bias"


def assert_close(got: Any, want: Any, tolerance: float, place: str, floor: float = 0.0) -> None:
    """‖got - want‖ ≤ tolerance ‖want‖ + floor, and ≤ tolerance where `want` is 0."""
    if want is None or got is None:
        assert got is want, f"{place}: got {got}, expected {want}"
        return
    if isinstance(want, dict):
        assert set(got) == set(want), place
    values, reference = flat(got), flat(want)
    assert values.shape == reference.shape, place
    size = float(np.linalg.norm(reference))
    error = float(np.linalg.norm(values - reference))
    assert error <= tolerance * (size or 1.0) + floor, f"{place}: off by {error} of {size}"


def assert_agrees(
    response: GradientsResponse, want: Figures, tolerance: float, floor: float = 0.0
) -> None:
    """Every field of `want` is in the response, to `tolerance`.

    `floor` is absolute: rounding, where a figure is a difference of larger numbers.
    """
    got = response.model_dump()
    assert got["examples"] == want["examples"]
    assert set(got["noise_scale"]) == set(want["noise_scale"])
    for field in ("loss", "mean_gradient", "norms"):
        assert_close(got[field], want[field], tolerance, field, floor)
    for example, gradient in enumerate(want.get("per_example", [])):
        own = got["per_example"][example]
        assert_close(own, gradient, tolerance, f"per_example/{example}", floor)
    for name, shortcut in want["shortcuts"].items():
        _assert_shortcut(got["shortcuts"][name], shortcut, tolerance, floor, name)
    assert [depth["name"] for depth in got["depths"]] == [each["name"] for each in want["depths"]]
    for depth, reference in zip(got["depths"], want["depths"], strict=True):
        error = reference["relative_error"]
        assert_close(depth["relative_error"], error, tolerance, f"depths/{depth['name']}", floor)
    _assert_noise_scale(got["noise_scale"], want["noise_scale"], tolerance, floor)


def _assert_noise_scale(got: Figures, want: Figures, tolerance: float, floor: float) -> None:
    """`simple` is trace / signal: both roundings count, and may decide the sign of the signal."""
    trace, signal, simple = want["trace"], want["signal"], want["simple"]
    for field in ("trace", "signal"):
        assert_close(got[field], want[field], tolerance, f"noise_scale/{field}", floor)
    if signal is not None and abs(signal) <= tolerance * trace:
        return
    rounding = floor * (1 + simple) / signal if simple else floor
    assert_close(got["simple"], simple, tolerance, "noise_scale/simple", rounding)


def _assert_shortcut(
    got: Figures, want: Figures, tolerance: float, floor: float, name: str
) -> None:
    assert_close(got["gradient"], want["gradient"], tolerance, f"{name}/gradient", floor)
    for field in ("relative_error", "cosine_similarity", "norm_ratio"):
        assert_close(got[field], want[field], tolerance, f"{name}/{field}", floor)
    if want.get("layers") is None:
        assert got["layers"] is None
        return
    assert [each["name"] for each in got["layers"]] == [each["name"] for each in want["layers"]]
    for layer, reference in zip(got["layers"], want["layers"], strict=True):
        for field in ("relative_error", "covariance_norm", "propagation_norm"):
            place = f"{name}/layers/{layer['name']}/{field}"
            assert_close(layer[field], reference[field], tolerance, place, floor)
