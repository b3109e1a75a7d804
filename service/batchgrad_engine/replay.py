"""`python -m batchgrad_engine.replay`: replay one step from a checkpoint; rank its examples.

Reads one `Request` as a JSON line on stdin, writes one `Replayed` on stdout. Exits when stdin
ends, since then the service no longer waits for the answer.
"""

import sys
from collections.abc import Callable
from contextlib import closing
from math import isnan
from pathlib import Path

import numpy as np

from batchgrad.contract import ExampleInfluence, InfluenceOrder, JobSpec, StepExamples
from batchgrad_engine.checkpoints import checkpoints
from batchgrad_engine.checkpoints.checkpoints import BadCheckpoint
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.measurement.influence import CHUNK_BYTES, Influence, example_influence
from batchgrad_engine.messages import Message
from batchgrad_engine.preparation.job import engine_threads, prepare
from batchgrad_engine.training.memory import job_bytes
from batchgrad_workers.arrays import Floats
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.digests import checksums
from batchgrad_workers.nn.network import Network
from batchgrad_workers.runtime.threads import ThreadPool, single_threaded_blas
from batchgrad_workers.system.one_answer import keep_stdout, read_request
from batchgrad_workers.system.process_memory import at_most
from batchgrad_workers.system.processes import block_sigterm
from batchgrad_workers.user_code.sources import CodeSource

BYTES_PER_EXAMPLE = 128
"""Permutations, ledger and figures of an example: a few arrays of the dataset's length."""

SPARE_BYTES = 2**29

MODULE_BYTES = 2**34
"""For PyTorch and a module, of which no shapes are known in advance."""


class Request(Message):
    """Replay `step` (from 1, as in its row), beginning at `checkpoint`, or at step 0.

    `checksum` is the checksum of G in the run, or its first digits.
    """

    spec: JobSpec
    dataset: Path
    checkpoint: Path | None
    initial_parameters: Path | None
    code: CodeSource | None = None
    step: int
    checksum: str | None
    order: InfluenceOrder
    limit: int
    chunk_bytes: int = CHUNK_BYTES


class Replayed(Message):
    """The answer, or in `bad_checkpoint` the reason why the checkpoint can't be used."""

    examples: StepExamples | None = None
    bad_checkpoint: str | None = None


def replay(request: Request) -> StepExamples:
    """Replay the step with the bits of the run, and compute the influence of its examples.

    Raises:
        BadCheckpoint: the checkpoint is torn, changed, or not before the step.
    """
    single_threaded_blas()
    snapshot = checkpoints.read(request.checkpoint) if request.checkpoint else None
    first = snapshot.step if snapshot else 0
    if first >= request.step:
        raise BadCheckpoint(
            f"The checkpoint is of step {first}; step {request.step} needs an earlier one."
        )
    spec = request.spec.model_copy(update={"shortcuts": []})  # measuring changes no bits
    source = DatasetSource(request.dataset)
    prepared = prepare(spec, source, snapshot, request.initial_parameters, code=request.code)
    executor = InlineExecutor(prepared.config, engine_threads(spec))
    with closing(executor), ThreadPool(1) as pool:
        coordinator = prepared.coordinator(
            executor, pool, snapshot, request.initial_parameters, buffered_steps=0
        )
        for step in range(first, request.step - 1):
            coordinator.step(step)
        parameters = coordinator.parameters.copy()
        minibatch = coordinator.step(request.step - 1)
    with np.errstate(all="ignore"):
        influence = example_influence(
            prepared.model,
            parameters,
            prepared.examples,
            minibatch.ids,
            minibatch.gradient,
            request.chunk_bytes,
            prepared.sampler.keys(request.step - 1, minibatch.ids),
        )
    stored = StoredDataset.open(request.dataset)
    losses = minibatch.losses.astype(np.float64)
    fingerprint = checksums(minibatch.gradient[None])[0]
    ranking = _ranking(request.order, minibatch.ids.astype(np.float64), losses, influence)[
        : request.limit
    ]
    return StepExamples(
        step=request.step,
        replayed_from=first,
        gradient_norm=minibatch.gradient_norm,
        gradient_checksum=fingerprint,
        verified=request.checksum is not None and fingerprint.startswith(request.checksum),
        data=[
            _example(stored, int(minibatch.ids[n]), float(losses[n]), influence, n) for n in ranking
        ],
    )


def _ranking(by: InfluenceOrder, ids: Floats, losses: Floats, influence: Influence) -> list[int]:
    """Row numbers of the examples, sorted by `by`; ties by example number, undefined ones last."""
    keys: dict[InfluenceOrder, Callable[[], Floats]] = {
        "share": lambda: -np.abs(influence.share),
        "norm": lambda: -influence.norm,
        "alignment": lambda: influence.alignment,  # the most opposed first
        "leave_one_out_distance": lambda: -influence.leave_one_out_distance,
        "loss": lambda: -losses,
        "example": lambda: ids,
    }
    return np.lexsort((ids, keys[by]())).tolist()


def _example(
    stored: StoredDataset, example: int, loss: float, influence: Influence, row: int
) -> ExampleInfluence:
    def figure(of: Floats) -> float | None:
        value = float(of[row])
        return None if isnan(value) else value

    return ExampleInfluence(
        example=example,
        id=stored.id_of(example),
        weight=float(influence.weight[row]),
        loss=loss,
        share=figure(influence.share),
        norm=float(influence.norm[row]),
        alignment=figure(influence.alignment),
        leave_one_out_distance=figure(influence.leave_one_out_distance),
    )


def memory_limit_bytes(request: Request) -> int:
    """Memory that a replay may use: the job's for each thread, and some for its rows."""
    stored = StoredDataset.open(request.dataset)
    more = BYTES_PER_EXAMPLE * len(stored) + SPARE_BYTES
    if request.spec.model.torch is not None:
        return more + MODULE_BYTES
    network = Network(request.spec.model, stored.input_shape)
    return engine_threads(request.spec) * job_bytes(request.spec, network) + more


def main() -> int:
    """Answer one request; return the exit code."""
    block_sigterm()
    with keep_stdout() as answers:  # a module's code may print
        request = Request.model_validate_json(read_request())
        try:
            with at_most(memory_limit_bytes(request)):
                answer = Replayed(examples=replay(request))
        except BadCheckpoint as bad:
            answer = Replayed(bad_checkpoint=str(bad))
        answers.write(answer.model_dump_json().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
