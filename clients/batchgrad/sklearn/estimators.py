"""A classifier and a regressor with scikit-learn's interface."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from sklearn.utils.extmath import softmax
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from batchgrad.client import Client
from batchgrad.contract import Loss
from batchgrad.errors import InvalidArgument
from batchgrad.parsing import arguments
from batchgrad.sklearn.forward import arrays, outputs, outputs_by_service
from batchgrad.sklearn.training import service_of, train

_AUTO_BATCH = 256
_FLOATS = ["float64", "float32"]


class _Network(BaseEstimator):  # type: ignore[misc]
    """A multilayer perceptron, trained by a batchgrad service by the exact mean gradient.

    Args:
        hidden_layer_sizes: outputs of each hidden layer; () for a linear model.
        activation: kind of the layer after each hidden one, such as relu, tanh or gelu.
        optimizer: sgd, adam or adamw, with its default settings.
        learning_rate: of the optimizer.
        batch_size: examples in a minibatch, "full" for all; "auto" is 256.
        epochs: passes over the training examples.
        loss: None is softmax_cross_entropy for classes, squared_error for numbers.
        random_state: seed of initial parameters, split and order; None draws one.
        early_stopping: hold out `validation_fraction` of the examples, of each class alike; stop
            when their loss has not improved for `patience` epochs; keep the best parameters.
        validation_fraction: used with `early_stopping` only.
        patience: used with `early_stopping` only.
        standardize: inputs to mean 0 and deviation 1 over the training examples.
        precision: float32 or float64, of the training; predictions are float64.
        workers: Ray workers; 0 trains without Ray.
        spec: other keys of a job's spec; they replace those that the arguments above make.
        client: a batchgrad.Client, the URL of a service, or None for a private service, which is
            started at the first fit of this process and ends with it.

    Attributes:
        job_: the job as it ended; the service has its steps, while it keeps the job.
        loss_curve_: mean loss of each epoch's minibatches.
        n_iter_: number of epochs.
        parameters_: arrays by PyTorch's names, for raw inputs: "0.weight" (out, in), "0.bias", …
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
    """

    _loss: ClassVar[Loss]

    def __init__(
        self,
        hidden_layer_sizes: Iterable[int] = (100,),
        activation: str = "relu",
        *,
        optimizer: Literal["sgd", "adam", "adamw"] = "adam",
        learning_rate: float = 0.001,
        batch_size: int | Literal["auto", "full"] = "auto",
        epochs: int = 200,
        loss: Loss | None = None,
        random_state: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        standardize: bool = False,
        precision: Literal["float32", "float64"] = "float64",
        workers: Any = 0,
        spec: Mapping[str, Any] | None = None,
        client: Client | str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.loss = loss
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.standardize = standardize
        self.precision = precision
        self.workers = workers
        self.spec = spec
        self.client = client

    def _train(self, inputs: Any, targets: Any, weights: Any, outputs: int) -> Self:
        """Train on checked arrays: inputs (n, features), targets (n,), weights (n,) or None."""
        if weights is not None:
            weights = _check_sample_weight(weights, inputs, ensure_non_negative=True)
        spec = self._job_spec(outputs)
        trained = train(service_of(self.client), spec, inputs, targets, weights)
        self.job_ = trained.job
        self.loss_curve_ = trained.losses
        self.n_iter_ = len(trained.losses)
        self.parameters_ = arrays(trained.parameters)
        return self

    def _job_spec(self, outputs: int) -> dict[str, Any]:
        """The job's spec without its dataset; the service checks what is not checked here."""
        if not isinstance(self.spec, Mapping | None):
            raise InvalidArgument(
                f"spec is a {type(self.spec).__name__}; expected a mapping of a spec's keys."
            )
        batch = _AUTO_BATCH if self.batch_size == "auto" else self.batch_size
        spec: dict[str, Any] = {
            "name": type(self).__name__,
            "model": {"layers": self._layers(outputs)},
            "loss": self._loss if self.loss is None else self.loss,
            "optimizer": {"kind": self.optimizer, "learning_rate": self.learning_rate},
            "batch_size": batch,
            "epochs": self.epochs,
            "seed": int(check_random_state(self.random_state).randint(2**31)),
            "standardize": self.standardize,
            "precision": self.precision,
            "workers": self.workers,
        }
        if self.early_stopping:
            stratify = self._loss == "softmax_cross_entropy"
            spec["validation"] = {"fraction": self.validation_fraction, "stratify": stratify}
            spec["early_stopping"] = {"patience": self.patience}
        return {**spec, **(self.spec or {})}

    def _layers(self, outputs: int) -> list[dict[str, Any]]:
        sizes = self.hidden_layer_sizes
        if not isinstance(sizes, Iterable) or isinstance(sizes, str | bytes | Mapping):
            raise InvalidArgument(
                f"hidden_layer_sizes is a {type(sizes).__name__}; expected sizes, such as (100,)."
            )
        hidden = [arguments.whole("hidden_layer_sizes", size, least=1) for size in sizes]
        layers: list[dict[str, Any]] = []
        for size in hidden:
            layers += [{"kind": "linear", "out_features": size}, {"kind": self.activation}]
        return [*layers, {"kind": "linear", "out_features": outputs}]

    def _outputs(self, inputs: Any) -> Any:
        """The network's outputs (n, outputs); by the service if the workers' package is missing.

        Logits of the service are less a constant of each row.
        """
        check_is_fitted(self)
        checked = validate_data(self, inputs, dtype=_FLOATS, reset=False)
        try:
            return outputs(self.job_.spec.model, self.parameters_, checked)
        except ModuleNotFoundError:
            return outputs_by_service(service_of(self.client), self.job_, checked)


def _described(kind: str, attribute: str = "") -> str:
    """The docstring of `_Network` for a kind of estimator, with another attribute."""
    text = (_Network.__doc__ or "").rstrip()
    return f"{text.replace('A ', f'A {kind}: a ', 1)}\n        {attribute}".rstrip()


class BatchgradClassifier(ClassifierMixin, _Network):  # type: ignore[misc]  # noqa: D101 (composed)
    __doc__ = _described(
        "classifier", "classes_: the labels, in the order of the columns of `predict_proba`."
    )

    _loss = "softmax_cross_entropy"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on inputs (n, features) and labels (n,)."""
        inputs, labels = validate_data(self, X, y, dtype=_FLOATS)
        check_classification_targets(labels)
        encoder = LabelEncoder().fit(labels)
        self.classes_ = encoder.classes_
        return self._train(inputs, encoder.transform(labels), sample_weight, len(self.classes_))

    def decision_function(self, X: Any) -> Any:
        """Logits (n, classes); with two classes the second's above the first's, (n,)."""
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, (n, classes)."""
        return softmax(self._outputs(X))

    def predict(self, X: Any) -> Any:
        """The most probable label of each input, (n,)."""
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]


class BatchgradRegressor(RegressorMixin, _Network):  # type: ignore[misc]  # noqa: D101 (composed)
    __doc__ = _described("regressor")

    _loss = "squared_error"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on inputs (n, features) and numbers (n,)."""
        inputs, numbers = validate_data(self, X, y, dtype=_FLOATS, y_numeric=True)
        return self._train(inputs, numbers.astype("float64"), sample_weight, 1)

    def predict(self, X: Any) -> Any:
        """Numbers (n,)."""
        return self._outputs(X)[:, 0]
