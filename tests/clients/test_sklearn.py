"""The estimators for scikit-learn; `make test-sklearn` runs all of scikit-learn's own checks."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks

import batchgrad
from batchgrad import Client, Job, Validation, errors
from batchgrad.sklearn import BatchgradClassifier, BatchgradRegressor
from batchgrad.sklearn.forward import outputs_by_service
from batchgrad.sklearn.training import train

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(60, 3)) * [1, 10, 100] + [0, 50, 0]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with batchgrad.local(folder=tmp_path_factory.mktemp("service")) as client:
        yield client


def by_hand(parameters: dict[str, Any], inputs: Any) -> Any:
    """Outputs of a hidden layer with ReLU and a linear one."""
    hidden = np.maximum(0, inputs @ parameters["0.weight"].T + parameters["0.bias"])
    return hidden @ parameters["2.weight"].T + parameters["2.bias"]


def test_a_classifier_with_names_of_columns_and_classes(service: Client) -> None:
    table = pd.DataFrame(INPUTS, columns=["age", "height", "income"])
    labels = np.array(["low", "middle", "top"])[np.digitize(INPUTS[:, 2], [-50, 50])]
    model = BatchgradClassifier(
        (16,),
        learning_rate=0.05,
        epochs=60,
        random_state=0,
        early_stopping=True,
        patience=60,
        standardize=True,
        client=service,
    )
    assert model.fit(table, labels) is model
    assert model.score(table, labels) > 0.95
    assert list(model.classes_) == ["low", "middle", "top"]
    assert list(model.feature_names_in_) == ["age", "height", "income"]
    probabilities = model.predict_proba(table)
    exponentials = np.exp(by_hand(model.parameters_, INPUTS))
    np.testing.assert_allclose(
        probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-9
    )
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(table)).all()
    assert model.job_.status == "succeeded"
    assert model.job_.spec.validation == Validation(fraction=0.1, stratify=True)
    assert len(model.loss_curve_) == model.n_iter_ == 60
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert service.frame(model.job_)["loss"].iloc[-1] == model.loss_curve_[-1]
    assert list(service.datasets()) == []
    again = pickle.loads(pickle.dumps(model.set_params(client=service.url)))  # noqa: S301 (our own)
    assert (again.predict_proba(table) == probabilities).all()


@pytest.mark.parametrize(
    ("loss", "prediction", "expected"),
    [
        ("squared_error", [2.5, -1.0], [[2.5], [-1.0]]),
        ("squared_error", [[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]),
        ("sigmoid_cross_entropy", [0.5, 0.75], [[0.0], [np.log(3)]]),
    ],
)
def test_outputs_of_the_service_are_the_network_s(
    kit: Any, loss: str, prediction: list[Any], expected: list[list[float]]
) -> None:
    answer = {"prediction": prediction, "parameters_digest": "sha256:0", "parameters_step": 1}
    job = kit.job()
    job["spec"]["loss"] = loss
    with kit.Script(kit.answer(200, answer)).client() as client:
        found = outputs_by_service(client, Job.model_validate(job), np.ones((2, 3)))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


CHEAP = [
    "check_estimators_unfitted",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_estimator_sparse_matrix",
    "check_complex_data",
    "check_estimators_empty_data_messages",
    "check_mixin_order",
    "check_get_params_invariance",
]


@pytest.mark.parametrize("kind", [BatchgradClassifier, BatchgradRegressor])
def test_checks_of_scikit_learn_that_need_no_fit(kind: Any) -> None:
    estimator = kind(client="http://127.0.0.1:9")  # where nobody answers
    for name in CHEAP:
        getattr(estimator_checks, name)(kind.__name__, estimator)
    with pytest.raises(NotFittedError):
        estimator.predict(INPUTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"client": 5}, "client is a int; expected a batchgrad.Client, the URL"),
        ({"hidden_layer_sizes": 5}, r"hidden_layer_sizes is a int; expected sizes, such as"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes is 0; expected an integer from 1"),
        ({"spec": 5}, "spec is a int; expected a mapping"),
        ({"activation": "wave"}, "wave"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"epochs": "many"}, "epochs"),
        ({"spec": {"epoch": 3}}, "epoch"),
    ],
)
def test_a_wrong_setting_is_named(service: Client, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.BatchgradError, match=message):
        BatchgradRegressor(**{"client": service, **arguments}).fit(INPUTS, INPUTS[:, 0])
    assert list(service.datasets()) == []


def test_other_keys_of_a_spec_can_be_given(service: Client) -> None:
    spec = {"labels": {"of": "me"}, "optimizer": {"kind": "sgd", "learning_rate": 1e-6}}
    model = BatchgradRegressor((), epochs=1, spec=spec, client=service).fit(INPUTS, INPUTS[:, 0])
    assert model.job_.labels == {"of": "me"}
    assert model.job_.spec.optimizer.kind == "sgd"


def test_ctrl_c_cancels_the_job_and_waits_for_its_end(kit: Any) -> None:
    job, calls = Job.model_validate(kit.job()), list[str]()

    class Interrupted:
        def put_arrays(self, *_: Any) -> None:
            calls.append("put")

        def submit(self, _: Any) -> Job:
            return job

        def wait(self, _: str, **__: Any) -> None:
            raise KeyboardInterrupt

        def cancel(self, job_id: str) -> None:
            calls.append(f"cancel {job_id}")

        def watch(self, job_id: str, **_: Any) -> Iterator[Job]:
            calls.append(f"watch {job_id}")
            yield job

        def delete_dataset(self, _: str) -> None:
            calls.append("delete")

    client: Any = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        train(client, {}, INPUTS, INPUTS, None)
    assert calls == ["put", f"cancel {job.id}", f"watch {job.id}", "delete"]
