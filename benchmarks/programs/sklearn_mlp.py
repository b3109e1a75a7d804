"""scikit-learn's MLPClassifier: one `partial_fit` is one SGD step on its minibatch."""

import warnings

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse
from benchmarks.workloads import CLASSES, LEARNING_RATE, MOMENTUM, Minibatches, data


def main() -> None:
    workload, threads, _ = parse()
    inputs, targets = data(workload)
    order = Minibatches(workload)
    widths = [layer["out_features"] for layer in workload.layers if layer["kind"] == "linear"]
    network = MLPClassifier(
        tuple(widths[:-1]),
        solver="sgd",
        alpha=0.0,
        batch_size=workload.batch_size,
        learning_rate_init=LEARNING_RATE,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        random_state=0,
    )
    network.partial_fit(inputs, targets, classes=np.arange(CLASSES))

    def step() -> None:
        ids = order.next()
        network.partial_fit(inputs[ids], targets[ids])

    with threadpool_limits(threads):
        warnings.simplefilter("error")  # a warning a step would be what is measured
        serve(Bursts(step).run, {"scikit-learn": sklearn.__version__})


if __name__ == "__main__":
    main()
