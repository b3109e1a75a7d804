"""Losses and gradients of single examples by PyTorch's autograd in float64; runs in .venv-peers.

One JSON object a line on stdin, one on stdout. Each example is computed once exactly and some
times with every number between two steps, and every parameter, changed by up to the precision
of the request: how far those results lie apart is what rounding may do there. Functions are
written so that autograd's own formulas do not cancel.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional

NOISY = 4
LARGE = 1e100
"""Outputs below have losses that torch's own formula can compute."""


class _Elementwise(torch.autograd.Function):  # type: ignore[misc]  # torch is not there for mypy
    """A function with an explicit derivative, where autograd's loses digits to cancellation."""

    @staticmethod
    def forward(ctx: Any, a: Any, value: Any, slope: Any) -> Any:
        ctx.save_for_backward(a)
        ctx.slope = slope
        return value(a)

    @staticmethod
    def backward(ctx: Any, *errors: Any) -> Any:
        (a,) = ctx.saved_tensors
        return errors[0] * ctx.slope(a), None, None


def _sech_squared(a: Any) -> Any:
    e = torch.exp(-2 * a.abs())
    return 4 * e / (1 + e) / (1 + e)


def _tanh(a: Any) -> Any:
    return _Elementwise.apply(a, torch.tanh, _sech_squared)


def _sigmoid(a: Any) -> Any:
    return _Elementwise.apply(a, torch.sigmoid, lambda a: torch.sigmoid(a) * torch.sigmoid(-a))


def _softplus(a: Any) -> Any:
    return _Elementwise.apply(a, lambda a: torch.logaddexp(a, torch.zeros_like(a)), torch.sigmoid)


class NoFormula(Exception):
    """A layer or a loss has no formula in this module."""


def _elementwise(spec: dict[str, Any], a: Any) -> Any:
    formulas: dict[str, Callable[[], Any]] = {
        "identity": lambda: a,
        "dropout": lambda: a,  # a request drops nothing
        "flatten": lambda: a.flatten(1),
        "global_avg_pool": lambda: a.flatten(2).mean(2),
        "sequence_mean": lambda: a.mean(-2),
        "relu": lambda: functional.relu(a),
        "leaky_relu": lambda: functional.leaky_relu(a, spec.get("negative_slope", 0.01)),
        "tanh": lambda: _tanh(a),
        "sigmoid": lambda: _sigmoid(a),
        "gelu": lambda: a * torch.erfc(-a * 0.5**0.5) / 2,
        "silu": lambda: a * _sigmoid(a),
        "softplus": lambda: _softplus(a),
        "elu": lambda: functional.elu(a, spec.get("alpha", 1.0)),
    }
    if spec["kind"] not in formulas:
        raise NoFormula(spec["kind"])
    return formulas[spec["kind"]]()


def _normalized(a: Any, eps: float, noise: Callable[[Any], Any]) -> Any:
    """The last axis of a normalized; a and √eps are divided by the largest number: no overflow."""
    size = a.detach().abs().amax(-1, keepdim=True).clamp(min=eps**0.5)
    centred = a / size
    for _ in range(2):
        centred = centred - centred.mean(-1, keepdim=True)
    centred = noise(centred)
    variance = noise(centred.square().mean(-1, keepdim=True))
    return noise(centred / (variance + eps / size / size).sqrt())


def _norm(spec: dict[str, Any], own: dict[str, Any], a: Any, noise: Callable[[Any], Any]) -> Any:
    """Layer or group norm."""
    eps = spec.get("eps", 1e-5)
    if spec["kind"] == "layer_norm":
        return _normalized(a, eps, noise) * own["weight"] + own["bias"]
    grouped = _normalized(a.reshape(len(a), spec["num_groups"], -1), eps, noise)
    by_channel = (-1, *[1] * (a.ndim - 2))
    return grouped.reshape(a.shape) * own["weight"].reshape(by_channel) + own["bias"].reshape(
        by_channel
    )


def _layer(spec: dict[str, Any], own: dict[str, Any], a: Any, noise: Callable[[Any], Any]) -> Any:
    weight, bias = own.get("weight"), own.get("bias")
    match spec["kind"]:
        case "linear":
            return functional.linear(a, weight, bias)
        case "layer_norm" | "group_norm":
            return _norm(spec, own, a, noise)
        case "embedding":
            return functional.embedding(a, weight, spec.get("padding_idx"))
        case "conv1d" | "conv2d":
            return getattr(functional, spec["kind"])(
                a,
                weight,
                bias,
                spec.get("stride", 1),
                spec.get("padding", 0),
                spec.get("dilation", 1),
                spec.get("groups", 1),
            )
        case "max_pool2d" | "avg_pool2d":
            pool = getattr(functional, spec["kind"])
            return pool(a, spec["kernel_size"], spec.get("stride"), spec.get("padding", 0))
        case _:
            return _elementwise(spec, a)


def _surprise(f: Any, o: int) -> Any:
    """-log softmax(f)[o] of one example (1, outputs)."""
    others = torch.cat([f[:, :o], f[:, o + 1 :]], 1) - f[:, o : o + 1]
    largest = others.detach().max()
    return _softplus(largest + torch.logsumexp(others - largest, 1)).sum()


def _softmax_cross_entropy(f: Any, target: Any, smoothing: float) -> Any:
    """Σ y_o (-log softmax(f)[o]); its value is compared with torch's own."""
    outputs, is_class = f.shape[1], isinstance(target, int)
    goal = torch.tensor([target], dtype=torch.int64 if is_class else torch.float64)
    y = functional.one_hot(goal, outputs).double() if is_class else goal
    y = (1 - smoothing) * y + smoothing / outputs
    loss = sum(y[0, o] * _surprise(f, o) for o in range(outputs) if y[0, o])
    own = functional.cross_entropy(f, goal, label_smoothing=smoothing, reduction="sum")
    size = 1 + float(f.detach().abs().max())
    if size < LARGE and abs(float(loss) - float(own)) > 1e-9 * size:
        raise AssertionError(f"the formula gives {float(loss)}, torch {float(own)}")
    return loss


def _loss(
    name: str, f: Any, target: Any, noise: Callable[[Any], Any], smoothing: float = 0.0
) -> Any:
    if name == "softmax_cross_entropy":
        return _softmax_cross_entropy(f, target, smoothing)
    y = noise(torch.tensor([target], dtype=torch.float64).reshape(f.shape))
    match name:
        case "squared_error":
            return (f - y).square().sum()
        case "absolute_error":
            return (f - y).abs().sum()
        case "huber":
            return functional.huber_loss(f, y, reduction="sum")
        case "linear_error":
            return (y - f).sum()
        case "sigmoid_cross_entropy":
            return (y * _softplus(-f) + (1 - y) * _softplus(f)).sum()
        case _:
            raise NoFormula(name)


def _length(vector: Any) -> float:
    """‖v‖ without underflow or overflow of squares."""
    largest = float(vector.abs().max()) if vector.numel() else 0.0
    return largest * float((vector / largest).norm()) if largest else 0.0


class TorchReference:
    """The computation for one request; `largest` is the largest number that occurred."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._layers = request["model"]["layers"]
        self._loss = request["loss"]
        self._smoothing = request.get("label_smoothing", 0.0)
        self._ids = self._layers[0]["kind"] == "embedding"
        self._eps = torch.finfo(getattr(torch, request["precision"])).eps
        self._parameters = {
            name: torch.tensor(own, dtype=torch.float64)
            for name, own in request["parameters"].items()
        }
        self._random = torch.Generator().manual_seed(0)
        self.largest = 0.0

    def example(self, row: Any, target: Any) -> dict[str, Any]:
        """The loss, the gradient by name, and the effect of noise on each of them."""
        loss, gradient = self._run(row, target, noisy=False)
        spread, spreads = 0.0, dict.fromkeys(gradient, 0.0)
        for _ in range(NOISY):
            other_loss, other = self._run(row, target, noisy=True)
            spread = max(spread, abs(other_loss - loss))
            for name, own in other.items():
                spreads[name] = max(spreads[name], _length(own - gradient[name]))
        return {
            "loss": loss,
            "gradient": {name: own.flatten().tolist() for name, own in gradient.items()},
            "loss_spread": spread,
            "spreads": spreads,
        }

    def _run(self, row: Any, target: Any, *, noisy: bool) -> tuple[float, dict[str, Any]]:
        leaves = {name: own.clone().requires_grad_() for name, own in self._parameters.items()}
        used = {name: self._noise(own, noisy=noisy) for name, own in leaves.items()}
        noise = partial(self._noise, noisy=noisy)
        a = torch.tensor([row], dtype=torch.int64 if self._ids else torch.float64)
        a = self._through(self._layers, "", a, used, noise)
        loss = _loss(self._loss, noise(a).flatten(1), target, noise, self._smoothing)
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        self._met(loss.detach())
        return float(loss), {
            name: torch.zeros_like(leaves[name]) if own is None else own
            for name, own in zip(leaves, found, strict=True)
        }

    def _through(
        self, layers: Any, block: str, a: Any, used: dict[str, Any], noise: Callable[[Any], Any]
    ) -> Any:
        """Output of `layers`, whose names begin with `block`."""
        for index, spec in enumerate(layers):
            name = f"{block}{index}"
            a = noise(a) if a.is_floating_point() else a
            if spec["kind"] == "residual":
                a = a + noise(self._through(spec["layers"], f"{name}.", a, used, noise))
                continue
            own = {
                local: used[f"{name}.{local}"]
                for local in ("weight", "bias")
                if f"{name}.{local}" in used
            }
            a = _layer(spec, own, a, noise)
        return a

    def _noise(self, a: Any, *, noisy: bool) -> Any:
        """`a` with each number changed by up to the precision, and the same for its error."""
        self._met(a.detach())
        if not noisy:
            return a
        factor = self._factor(a)
        out = a * factor
        if out.requires_grad:
            out.register_hook(self._noisy_error)
        return out

    def _noisy_error(self, error: Any) -> Any:
        self._met(error)
        return error * self._factor(error)

    def _factor(self, a: Any) -> Any:
        noise = torch.rand(a.shape, dtype=torch.float64, generator=self._random)
        return 1 + self._eps * (2 * noise - 1)

    def _met(self, a: Any) -> None:
        if a.numel():
            self.largest = max(self.largest, float(a.abs().max()))


def main() -> None:
    """Answer requests until stdin ends."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        reference = TorchReference(request)
        rows = zip(request["inputs"], request["targets"], strict=True)
        try:
            examples = [reference.example(row, target) for row, target in rows]
            answer = {"examples": examples, "largest": reference.largest}
        except NoFormula as unknown:
            answer = {"no_formula": str(unknown)}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
