"""A worker's shard of a step on images and ids: the same bits for any ranges."""

from contextlib import closing
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import GradientsRequest, Model
from batchgrad_service.questions.gradients import answer
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.nn.chunks import CHUNK_BYTES
from batchgrad_workers.reduction.sums import WEIGHT
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner, microbatches
from tests.workers.jobs import BATCH, EXAMPLES, FRACTION, bits, store, theta, whole, worker_config
from tests.workers.splits import drawn

MICROBATCH = 12
M = microbatches(BATCH, MICROBATCH)
WIDE: dict[str, Any] = {"kind": "conv2d", "out_channels": 16, "kernel_size": 5, "padding": 2}
NETS: dict[str, list[dict[str, Any]]] = {
    "convnet": [
        {**WIDE, "groups": 2},
        {"kind": "relu"},
        {**WIDE, "padding": 4, "dilation": 2},
        {"kind": "max_pool2d", "kernel_size": 2},
        {"kind": "avg_pool2d", "kernel_size": 3, "padding": 1},
        {"kind": "layer_norm"},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 3},
    ],
    "dropping": [
        {**WIDE, "out_channels": 3},
        {"kind": "dropout", "p": 0.2},
        {"kind": "flatten"},
        {"kind": "dropout"},
        {"kind": "linear", "out_features": 3},
    ],
    "texts": [
        {"kind": "embedding", "num_embeddings": 20, "embedding_dim": 8, "padding_idx": 0},
        {"kind": "linear", "out_features": 6},
        {"kind": "layer_norm"},
        {"kind": "gelu"},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 3},
    ],
}


def job(directory: Path, net: str, precision: str) -> WorkerConfig:
    """61 weighted examples: images of 4 x 16 x 16, or texts of 9 words."""
    random = np.random.default_rng(4)
    inputs: Any = random.normal(size=(EXAMPLES, 4, 16, 16))
    if net == "texts":
        inputs = random.integers(0, 20, (EXAMPLES, 9))
    store(directory, inputs=inputs, weights=np.arange(EXAMPLES) % 4 + 1.0)
    return worker_config(
        directory,
        model=Model.model_validate({"layers": NETS[net]}),
        microbatch_size=MICROBATCH,
        precision=precision,
    )


def test_a_microbatch_of_images_takes_several_runs() -> None:
    """The second convolution's, in float64: not all patches fit at once, several examples' do."""
    patches = 2 * prod((16, 5, 5, 16, 16)) * 8
    assert 4 * patches < CHUNK_BYTES < MICROBATCH * patches


@pytest.mark.parametrize(
    ("net", "precision"),
    [("convnet", "float64"), ("texts", "float32"), ("dropping", "float32")],
)
def test_the_root_s_bits_do_not_depend_on_parts_or_threads(
    tmp_path: Path, net: str, precision: str
) -> None:
    of = job(tmp_path, net, precision)
    expected, [alone] = whole(of)

    for threads, edges in ((2, []), (4, [1]), (1, [1, 2, 3]), (2, [3])):
        sums, parts = whole(of, list(pairwise([0, *edges, M])), threads)

        assert bits(sums) == bits(expected)
        losses = np.concatenate([part.losses for part in parts])
        norms = np.concatenate([part.norms for part in parts])
        assert losses.tobytes() == alone.losses.tobytes()
        assert norms.tobytes() == alone.norms.tobytes()


@pytest.mark.parametrize(("net", "precision"), [("convnet", "float64"), ("texts", "float32")])
def test_a_job_s_step_is_the_question_s_answer_bit_for_bit(
    tmp_path: Path, net: str, precision: str
) -> None:
    of = job(tmp_path, net, precision)
    ids = Sampler(
        drawn(EXAMPLES, FRACTION, of.seed), seed=of.seed, batch_size=of.batch_size
    ).minibatch(0)
    values = theta(of)
    root, [part] = whole(of)
    mean = root.gradient / values.dtype.type(root.totals[WEIGHT])
    with closing(ShardRunner(of, 1)) as shard:
        names = {name: array.tolist() for name, array in shard.layout.named(values).items()}
        named = {name: array.tolist() for name, array in shard.layout.named(mean).items()}

    response = answer(
        GradientsRequest(
            model=of.model,
            loss=of.loss,
            inputs=np.load(tmp_path / "inputs.npy")[ids].tolist(),
            targets=np.load(tmp_path / "targets.npy")[ids].tolist(),
            weights=np.load(tmp_path / "weights.npy")[ids].tolist(),
            parameters=names,
            microbatch_size=MICROBATCH,
            precision=of.precision,
        )
    )

    assert response.mean_gradient == named
    assert response.norms == part.norms.tolist()


@pytest.mark.parametrize("net", NETS)
def test_dropped_examples_count_for_nothing_there_too(tmp_path: Path, net: str) -> None:
    of = job(tmp_path, net, "float64")
    targets = np.load(tmp_path / "targets.npy").astype(float)
    rows = np.stack([targets, targets, targets], axis=1)
    rows[1::2] = 1e200  # its square overflows
    np.save(tmp_path / "targets.npy", rows)
    fields = {**vars(of), "loss": "squared_error"}

    spoiled, _ = whole(WorkerConfig(**fields))
    dropped, [part] = whole(WorkerConfig(**{**fields, "drop_nonfinite": True}))

    assert not np.isfinite(spoiled.totals).all()
    assert np.isfinite(dropped.gradient).all()
    assert np.isfinite(dropped.means).all()
    assert 0 < np.isfinite(part.losses).sum() < BATCH
