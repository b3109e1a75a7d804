"""Fits of our estimators: weights, clones, predictions of the service, the embedded service."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from batchgrad import Client, errors
from batchgrad.sklearn import BatchgradClassifier, BatchgradRegressor
from batchgrad.sklearn.training import service_of
from tests.clients.test_sklearn import INPUTS, service

__all__ = ["service"]


def test_a_regressor_with_weights_stops_early(service: Client) -> None:
    targets = INPUTS[:, 0] * 2 + 1
    model = BatchgradRegressor(
        (),
        optimizer="sgd",
        learning_rate=0.05,
        batch_size="full",
        epochs=500,
        random_state=1,
        early_stopping=True,
        validation_fraction=0.2,
        patience=3,
        standardize=True,
        client=service,
    )
    wrong = np.concatenate([targets, np.full(20, 1e6)])
    weights = np.concatenate([np.ones(60), np.zeros(20)])
    model.fit(np.concatenate([INPUTS, INPUTS[:20]]), wrong, sample_weight=weights)
    np.testing.assert_allclose(model.predict(INPUTS), targets, atol=1e-3)
    assert model.n_iter_ < 500
    assert model.score(INPUTS, targets) > 0.999


def test_without_the_workers_the_service_predicts(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = np.where(INPUTS[:, 0] > 0, "above", "below")
    model = BatchgradClassifier((4,), epochs=2, standardize=True, client=service)
    model.fit(INPUTS, names)
    many = np.resize(INPUTS, (40_000, 3))  # sent as a file, the others as JSON

    def answers() -> list[Any]:
        found = [model.decision_function(INPUTS)]
        return [*found, *(model.predict_proba(inputs) for inputs in (INPUTS, many))]

    own, named = answers(), model.predict(INPUTS)
    assert ((own[0] > 0) == (named == model.classes_[1])).all()
    monkeypatch.setitem(sys.modules, "batchgrad_workers.nn.network", None)
    for found, expected in zip(answers(), own, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert (model.predict(INPUTS) == named).all()
    service.delete(model.job_.id)
    with pytest.raises(errors.BatchgradError, match=model.job_.id):
        model.predict(INPUTS)


def test_a_clone_has_the_same_client_and_seed(service: Client) -> None:
    model = BatchgradRegressor((), epochs=2, random_state=3, client=service)
    other = clone(model)
    assert other.client is service
    first, second = (one.fit(INPUTS, INPUTS[:, 0]).job_ for one in (model, other))
    assert first.parameters_digest == second.parameters_digest


def test_the_embedded_service_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "from batchgrad.sklearn.training import service_of\n"
        "client = service_of(None)\n"
        "assert service_of(None) is client\n"
        "assert os.listdir(os.environ['TMPDIR'])\n"
        "if os.fork() == 0:\n"
        "    raise SystemExit  # leaves the service of its parent alone\n"
        "os.wait()\n"
        "print(client.ready(), client.url)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        check=True,
        text=True,
        env=environment,
    )
    ready, url = done.stdout.split()
    assert ready == "True"
    assert not service_of(url).ready()
    assert list(tmp_path.iterdir()) == []
