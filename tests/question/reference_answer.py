"""Reference for a GradientsResponse, computed from the definitions by explicit loops."""

from typing import Any

from tests.question.reference_network import ReferenceNetwork, agreement, joined, mean, minus, norm

Layers = list[list[float]]


class ReferenceAnswer:
    """One minibatch: `targets` are rows (n, outputs), one-hot for classes."""

    def __init__(
        self,
        network: ReferenceNetwork,
        inputs: list[list[float]],
        targets: Layers,
        weights: list[float],
    ) -> None:
        """Per-example gradients, G, and the means that the shortcuts start from."""
        self.network, self.inputs, self.targets, self.weights = network, inputs, targets, weights
        pairs = list(zip(inputs, targets, strict=True))
        self.top = len(network.layers) - 1
        self.each = [network.gradient(x, y) for x, y in pairs]
        self.exact = [mean(rows, weights) for rows in zip(*self.each, strict=True)]
        traces = [[[a.real for a in at] for at in network.inputs(x)] for x in inputs]
        self.mean_inputs = [mean(rows, weights) for rows in zip(*traces, strict=True)]
        self.mean_errors = [
            mean([network.error(k, x, y) for x, y in pairs], weights) for k in range(self.top + 1)
        ]

    def from_depth(self, start: int) -> Layers:
        """Exact above layer `start`; from its output down one pass of the mean error."""
        gradient, delta = [list(own) for own in self.exact], self.mean_errors[start]
        layers, past = self.network.layers, dict[int, list[list[float]]]()
        for end, layer in enumerate(layers):
            if layer.begin is not None and layer.begin <= start < end:
                past.setdefault(layer.begin, []).append(self.mean_errors[end])
        for k in range(start, -1, -1):
            begin = layers[k].begin
            if begin is not None:
                past.setdefault(begin, []).append(delta)
            gradient[k], delta = self.network.vjp(k, self.mean_inputs[k], delta)
            delta = [sum(parts) for parts in zip(delta, *past.get(k, []), strict=True)]
        return gradient

    def frozen(self) -> Layers:
        """F: every layer at its own exact means."""
        return [
            self.network.vjp(k, self.mean_inputs[k], delta)[0]
            for k, delta in enumerate(self.mean_errors)
        ]

    def mean_example(self) -> Layers:
        """The gradient at the mean input and the mean target."""
        target = mean(self.targets, self.weights)
        return self.network.gradient(self.mean_inputs[0], target)

    def mean_of_means(self, size: int) -> Layers:
        """Each slice of `size` examples averages its own, then the slices are averaged."""
        slices = [slice(start, start + size) for start in range(0, len(self.inputs), size)]
        heavy = [part for part in slices if sum(self.weights[part]) > 0]
        found = []
        for k in range(self.top + 1):
            own = [[gradient[k] for gradient in self.each[part]] for part in heavy]
            means = [mean(rows, self.weights[part]) for rows, part in zip(own, heavy, strict=True)]
            found.append(mean(means, [1.0] * len(means)))
        return found

    def measured(self, shortcut: Layers) -> dict[str, Any]:
        """A shortcut's figures, whole and by layer."""
        exact, frozen = self.exact, self.frozen()
        return {
            "gradient": joined(shortcut),
            **agreement(joined(exact), joined(shortcut)),
            "layers": [
                {
                    "name": self.network.layers[k].name,
                    "relative_error": agreement(exact[k], shortcut[k])["relative_error"],
                    "covariance_norm": norm(minus(exact[k], frozen[k])),
                    "propagation_norm": norm(minus(frozen[k], shortcut[k])),
                }
                for k in self.network.learning
            ],
        }

    def noise_scale(self) -> dict[str, float | None]:
        """The unbiased trace of the covariance of g_n, and ‖G‖² less its share of that noise."""
        there = [g for g, weight in zip(self.each, self.weights, strict=True) if weight]
        count, exact = len(there), joined(self.exact)
        if count == 1 or len(set(filter(None, self.weights))) > 1:
            return {"trace": None, "signal": None, "simple": None}
        trace = sum(norm(minus(joined(g), exact)) ** 2 for g in there) / (count - 1)
        signal = norm(exact) ** 2 - trace / count
        return {
            "trace": trace,
            "signal": signal,
            "simple": trace / signal if signal > 0 else None,
        }

    def answer(self, microbatch_size: int) -> dict[str, Any]:
        """Every field of a response; gradients are flat, in θ's order."""
        losses = [
            [self.network.loss_value(x, y)] for x, y in zip(self.inputs, self.targets, strict=True)
        ]
        of_means = joined(self.mean_of_means(microbatch_size))
        return {
            "loss": mean(losses, self.weights)[0],
            "examples": len(self.inputs),
            "mean_gradient": joined(self.exact),
            "norms": [norm(joined(gradient)) for gradient in self.each],
            "per_example": [joined(gradient) for gradient in self.each],
            "shortcuts": {
                "averaged_error": self.measured(self.from_depth(self.top)),
                "mean_example": self.measured(self.mean_example()),
                "mean_of_means": {
                    "gradient": of_means,
                    **agreement(joined(self.exact), of_means),
                    "layers": None,
                },
            },
            "depths": [
                {
                    "name": self.network.layers[k].name,
                    "relative_error": agreement(joined(self.exact), joined(self.from_depth(k)))[
                        "relative_error"
                    ],
                }
                for k in self.network.learning
            ],
            "noise_scale": self.noise_scale(),
        }
