"""Draw the figures of why-not-average-the-errors.md from answers of a private service.

python docs/make_figures.py    (needs batchgrad[service,demo]; about a minute)
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from batchgrad.client import Client
from batchgrad.user_machine import demo
from batchgrad.user_machine.private_service import private_service

HERE = Path(__file__).parent / "figures"
EXACT, SHORTCUT, OTHER, ACCENT = "#1f5fb5", "#b4520a", "#7a35a8", "#8a8a8a"
"""As on the service's pages."""

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "batchgrad",  # the same file each time
}
ABOVE = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
NEURON = {
    "model": {"layers": [{"kind": "linear", "out_features": 1}, {"kind": "sigmoid"}]},
    "loss": "linear_error",
    "inputs": [[0], [1]],
    "targets": [0, 0],
    "parameters": {"0.weight": [[1]], "0.bias": [0]},
    "per_example": True,
}
LINE = {
    "model": {"layers": [{"kind": "linear", "out_features": 1}]},
    "loss": "squared_error",
    "inputs": [[-2], [-1], [0], [1], [2]],
    "targets": [-3, -1, 0, 1, 3],
    "parameters": {"0.weight": [[0]], "0.bias": [0]},
    "per_example": True,
}
MLP = [
    {"kind": "linear", "out_features": 64},
    {"kind": "relu"},
    {"kind": "linear", "out_features": 64},
    {"kind": "relu"},
    {"kind": "linear", "out_features": 10},
]


def line(client: Client) -> None:
    """Draw every example's gradient of the slope, their mean, and the shortcut's."""
    answer = client.gradients(LINE)
    gradients = [each["0.weight"][0][0] for each in answer.per_example or []]
    mean = answer.mean_gradient["0.weight"][0][0]
    shortcut = answer.shortcuts["averaged_error"].gradient["0.weight"][0][0]
    figure, axes = plt.subplots(figsize=(6, 3))
    names = ["x = −2", "x = −1", "x = 0", "x = 1", "x = 2"]
    axes.bar(names, gradients, color=ACCENT, label="each example")
    axes.bar(["mean"], [mean], color=EXACT, label="their mean")
    axes.bar(["averaged\nerror"], [shortcut], color=SHORTCUT, label="average the errors first")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("∂loss/∂slope")
    axes.legend(**ABOVE)
    save(figure, "line")
    say("line fit", mean=mean, shortcut=shortcut)


def neuron(client: Client) -> None:
    """Draw the sigmoid's derivative at the examples and at their average."""
    answer = client.gradients(NEURON)
    exact = answer.mean_gradient["0.bias"][0]
    shortcut = answer.shortcuts["averaged_error"].gradient["0.bias"][0]
    z = np.linspace(-0.5, 1.5, 200)
    figure, axes = plt.subplots(figsize=(6, 3))
    axes.plot(z, slope(z), color="black", linewidth=1, label="σ′(z)")
    axes.plot([0, 1], slope(np.array([0.0, 1.0])), "o-", color=EXACT, label="the two examples")
    axes.plot([0.5], [-exact], "D", color=EXACT, label=f"mean of the slopes {-exact:.4f}")
    axes.plot([0.5], [-shortcut], "s", color=SHORTCUT, label=f"slope at the mean {-shortcut:.4f}")
    axes.set_xlabel("z")
    axes.legend(loc="lower left")
    save(figure, "neuron")
    say("neuron", exact=exact, shortcut=shortcut)


def same_loss(client: Client) -> None:
    """Draw two minibatches with equal loss and opposite gradients."""
    model = {"layers": [{"kind": "linear", "out_features": 1, "bias": False}]}
    for target in (0, 2):
        answer = client.gradients(
            {
                "model": model,
                "loss": "squared_error",
                "inputs": [[1]],
                "targets": [target],
                "parameters": {"0.weight": [[1]]},
            }
        )
        gradient = answer.mean_gradient["0.weight"][0][0]
        say(f"x = 1, y = {target}", loss=answer.loss, gradient=gradient)


def depth(client: Client, inputs: Any, targets: Any) -> None:
    """Draw the gradient's error by the layer at which averaging starts."""
    request = minibatch(inputs, targets)
    answer = client.gradients(request)
    layers = answer.shortcuts["averaged_error"].layers or []
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    places = np.arange(len(layers))
    left.bar(places - 0.2, [x.covariance_norm or 0 for x in layers], 0.4, color=ACCENT)
    left.bar(places + 0.2, [x.propagation_norm or 0 for x in layers], 0.4, color=SHORTCUT)
    left.set_xticks(places, [f"layer {each.name}" for each in layers])
    left.set_ylim(0, 0.26)
    left.legend(["covariance, lost here", "propagation, lost above"], loc="upper right")
    left.set_title("Norms of the two parts of the gap")
    right.bar(
        [f"at layer {each.name}" for each in answer.depths],
        [each.relative_error or 0 for each in answer.depths],
        color=SHORTCUT,
    )
    right.set_title("Relative error when averaging starts there")
    save(figure, "depth")
    say("depths", **{f"layer {d.name}": d.relative_error for d in answer.depths})


def slices(client: Client, inputs: Any, targets: Any) -> None:
    """Draw the mean of eight ranks' means, with and without equal weights."""
    random = np.random.default_rng(0)
    examples = len(targets)
    lengths = np.repeat(np.arange(4, 33, 4), examples // 8)
    cases = {
        "equal weights": np.ones(examples),
        "weights uniform in 0 to 1": random.uniform(0, 1, examples),
        "weights log-normal, sigma 1": np.exp(random.normal(size=examples)),
        "weights log-normal, sigma 2": np.exp(2 * random.normal(size=examples)),
        "masked: 4, 8, … 32 of each 32": (np.arange(examples) % 32 < lengths).astype(float),
    }
    for name, weights in cases.items():
        error = of_means(client, inputs, targets, weights)
        say(f"mean of means, {name}", relative_error=error)


def of_means(client: Client, inputs: Any, targets: Any, weights: Any) -> float | None:
    """Distance of the mean of eight slices' weighted means from the weighted mean."""
    request = minibatch(inputs, targets) | {"weights": weights.tolist(), "microbatch_size": 32}
    return client.gradients(request).shortcuts["mean_of_means"].relative_error


def training(client: Client) -> None:
    """Train on G and on the shortcuts, from the same start."""
    figure, axes = plt.subplots(figsize=(6, 3))
    for update, colour, style in (
        ("mean_gradient", EXACT, "-"),
        ("averaged_error", SHORTCUT, "-"),
        ("mean_example", OTHER, "--"),
    ):
        spec = demo.spec(0, None, 30) | {"update": update, "model": {"layers": MLP}}
        job = client.wait(client.submit(spec).id)
        rows = list(client.steps(job.id))
        axes.plot(
            [r.step for r in rows], [r.loss or 0.0 for r in rows], style, color=colour, label=update
        )
        say(update, loss=job.loss, accuracy=job.validation_accuracy)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.legend()
    save(figure, "training")


def minibatch(inputs: Any, targets: Any) -> dict[str, Any]:
    """256 standardized digits and a network with PyTorch's initial parameters."""
    return {
        "model": {"layers": MLP},
        "loss": "softmax_cross_entropy",
        "inputs": inputs.tolist(),
        "targets": targets.tolist(),
    }


def slope(z: Any) -> Any:
    """σ′(z)."""
    return np.exp(-z) / (1 + np.exp(-z)) ** 2


def save(figure: Any, name: str) -> None:
    """Write one figure."""
    figure.tight_layout()
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def say(name: str, **figures: float | None) -> None:
    """Print the figures that the page quotes."""
    shown = "  ".join(f"{k} {v:.4f}" if v is not None else f"{k} –" for k, v in figures.items())
    print(f"{name}: {shown}")  # noqa: T201


def main() -> None:
    """Compute all figures with a private service."""
    mpl.use("svg")
    mpl.rcParams.update(STYLE)
    HERE.mkdir(exist_ok=True)
    inputs, targets = demo.digits()
    deviation = inputs.std(axis=0)
    standardized = (inputs - inputs.mean(axis=0)) / np.where(deviation == 0, 1, deviation)
    with private_service() as client:
        line(client)
        neuron(client)
        same_loss(client)
        depth(client, standardized[:256], targets[:256])
        slices(client, standardized[:256], targets[:256])
        client.put_arrays("digits", inputs, targets)
        training(client)


if __name__ == "__main__":
    main()
