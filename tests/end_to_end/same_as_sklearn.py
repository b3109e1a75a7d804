"""Compare a job on a table with scikit-learn's pipeline on the same rows, in every figure."""

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.pipeline import Pipeline

from batchgrad import read_card
from batchgrad.client import Client
from tests.end_to_end.csv_to_predictions import Data, Predicted, plain, scikit_learn


def check_classes(client: Client, data: Data, predicted: Predicted) -> dict[str, float]:
    """Compare with a LogisticRegression without penalty; return figures of both."""
    theirs = scikit_learn(data, "label", LogisticRegression(C=np.inf, max_iter=1000))
    _check_encoding(client, predicted.job, theirs)
    new = data.new_rows["label"]
    names = theirs.classes_
    expected = theirs.predict_proba(plain(data.new_rows))
    found = predicted.rows[[f"probability_{name}" for name in names]].to_numpy()
    predictions = predicted.rows["prediction"]
    assert (predictions == names[found.argmax(1)]).all()
    figures = {
        "log loss": log_loss(new, found),
        "log loss of scikit-learn": log_loss(new, expected),
        "accuracy": accuracy_score(new, predictions),
        "accuracy of scikit-learn": accuracy_score(new, names[expected.argmax(1)]),
        "mean difference of probabilities": float(np.abs(found - expected).mean()),
    }
    loss, their_loss, accuracy, their_accuracy, difference = figures.values()
    assert abs(loss - their_loss) < 0.01 * their_loss, figures
    assert abs(accuracy - their_accuracy) < 0.005, figures
    assert difference < 0.01, figures
    assert their_loss < 0.9 * np.log(3), figures  # there was something to learn
    held_out = data.rows[data.rows["set"] == "validation"]
    validation_loss = log_loss(held_out["label"], theirs.predict_proba(plain(held_out)))
    job = client.job(predicted.job)
    assert job.validation_loss is not None
    assert abs(job.validation_loss - validation_loss) < 0.01 * validation_loss
    return figures


def check_numbers(client: Client, data: Data, predicted: Predicted) -> dict[str, float]:
    """Compare with a LinearRegression; return figures of both."""
    theirs = scikit_learn(data, "amount", LinearRegression())
    _check_encoding(client, predicted.job, theirs)
    new = data.new_rows["amount"]
    expected, found = theirs.predict(plain(data.new_rows)), predicted.rows["prediction"]
    figures = {
        "R²": r2_score(new, found),
        "R² of scikit-learn": r2_score(new, expected),
        "mean difference of predictions": float(np.abs(found - expected).mean()),
    }
    r2, their_r2, difference = figures.values()
    assert abs(r2 - their_r2) < 0.001, figures
    assert difference < 0.05, figures
    assert their_r2 > 0.5, figures
    return figures


def _check_encoding(client: Client, job: str, theirs: Pipeline) -> None:
    """Means, deviations and categories are those of scikit-learn's transformers."""
    columns = theirs[0]
    numbers, texts = (columns.transformers_[n] for n in range(2))
    encoding = read_card(client.parameters(job)).encoding
    assert encoding is not None
    values = {each.column: each for each in encoding.inputs if each.takes == "value"}
    scaler, imputer = numbers[1][1], numbers[1][0]
    for name, mean, scale, fill in zip(
        numbers[2], scaler.mean_, scaler.scale_, imputer.statistics_, strict=True
    ):
        np.testing.assert_allclose(values[name].mean, mean, rtol=1e-9)
        np.testing.assert_allclose(values[name].deviation, scale, rtol=1e-9)
        np.testing.assert_allclose(values[name].fill, fill, rtol=1e-9)
    for name, categories in zip(texts[2], texts[1].categories_, strict=True):
        matches = [each for each in encoding.inputs if each.column == name]
        known = [text for each in matches for text in each.categories]
        assert known == [text for text in categories if text]
        assert any(each.gaps for each in matches) == ("" in categories)
