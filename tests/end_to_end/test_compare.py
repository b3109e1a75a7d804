"""Figures of `compare` beside those of training: the loss of an epoch, and of all examples."""

from pathlib import Path

import pytest

from batchgrad import Client
from batchgrad.contract import JobSpec
from batchgrad.parsing.spec_files import load_job
from batchgrad.user_machine import built_in
from batchgrad.user_machine import compare as comparing

EXAMPLES = Path(__file__).parents[2] / "examples"


pytestmark = pytest.mark.ray


def test_training_loss_is_that_of_all_training_examples(client: Client) -> None:
    """If one minibatch holds the whole set, the next step's loss is the training loss."""
    spec = load_job(EXAMPLES / "line-fit.yaml", ["epochs=3", "batch_size=full", "keep=last"])
    built_in.store_if_missing(client, spec.dataset, lambda _: None)
    [variant, _] = comparing.compare(client, spec, ["averaged_error"])
    longer = client.wait(client.submit(spec.model_copy(update={"epochs": 4})).id)
    assert variant.training_loss == longer.loss


def test_the_last_epoch_counts_examples_and_not_minibatches(client: Client) -> None:
    """At a learning rate too small to change θ, an epoch's loss is that of all its examples."""
    inputs = [[k / 9.0] for k in range(65)]
    weights = [1.0 + k % 3 for k in range(65)]
    client.put_arrays("uneven", inputs, [float(k * k) for k in range(65)], weights)
    spec = load_job(EXAMPLES / "line-fit.yaml", ["epochs=2", "validation_fraction=0"])
    still = {"kind": "sgd", "learning_rate": 1e-30}
    changes = {"dataset": "uneven", "optimizer": still, "workers": 0}
    spec = JobSpec.model_validate({**spec.model_dump(exclude_unset=True), **changes})
    [variant, _] = comparing.compare(client, spec, ["averaged_error"])
    rows = list(client.steps(variant.job.id))
    assert [row.epoch for row in rows] == [1, 1, 2, 2]
    assert sum(row.weight or 0 for row in rows[2:]) == sum(weights)
    assert variant.last_epoch_loss == pytest.approx(variant.training_loss, rel=1e-6)
    assert variant.last_epoch_loss != pytest.approx(
        ((rows[2].loss or 0) + (rows[3].loss or 0)) / 2, rel=1e-2
    )
