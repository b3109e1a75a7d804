"""Forward passes over the validation examples."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from batchgrad_workers.reduction.tree import ReductionTree
from batchgrad_workers.runtime.shard import ShardRunner, microbatches
from batchgrad_workers.trainable import EvaluationSums
from tests.workers.jobs import EXAMPLES, FRACTION, MICROBATCH, store, theta, worker_config
from tests.workers.splits import drawn


def test_loss_weight_right_answers_and_examples_of_the_validation_part(tmp_path: Path) -> None:
    weights = np.arange(EXAMPLES) % 3 + 1.0
    of = worker_config(store(tmp_path, weights=weights))
    ids = drawn(EXAMPLES, FRACTION, seed=7).validation
    inputs, targets = (np.load(tmp_path / f"{name}.npy")[ids] for name in ("inputs", "targets"))
    values = theta(of)
    with closing(ShardRunner(of, 2)) as shard:
        named = shard.layout.named(values)
        tree: ReductionTree[EvaluationSums] = ReductionTree(
            microbatches(len(ids), MICROBATCH), np.add
        )
        for start, stop in ((0, 2), (2, 3)):
            part = shard.evaluation_sums(values, start, stop)
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)

    hidden = np.tanh(inputs @ named["0.weight"].T + named["0.bias"])
    outputs = hidden @ named["2.weight"].T + named["2.bias"]
    likelihood = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    losses = -np.log(likelihood[np.arange(len(ids)), targets])
    right = (outputs.argmax(axis=1) == targets).sum()
    assert len(ids) == 12
    assert tree.root() == pytest.approx(
        [losses @ weights[ids] / 2, weights[ids].sum() / 2, right, len(ids)], rel=1e-12
    )
    assert 0 < right < len(ids)


def test_values_have_no_right_answers(tmp_path: Path) -> None:
    of = worker_config(store(tmp_path, targets=np.zeros((EXAMPLES, 3))), loss="squared_error")
    with closing(ShardRunner(of, 1)) as shard:
        [node] = shard.evaluation_sums(theta(of), 0, 3).nodes

    assert node.sum[1:4].tolist() == [12, 0, 12]
    assert node.sum[4:].sum() == pytest.approx(node.sum[0])  # each output's squared errors
