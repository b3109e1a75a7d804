"""Requests to the accountant, answered in the test's own process."""

from typing import Any

from batchgrad.contract import FieldError, Privacy
from batchgrad_engine.privacy.accountant.answering import answer
from batchgrad_engine.privacy.accountant.messages import Request
from batchgrad_engine.privacy.accountant.sampled_gaussian import SampledGaussian
from batchgrad_engine.privacy.accounted import Accounted


def request(
    batch_size: int, training_rows: int, steps: int, *, steps_per_epoch: int = 100, **privacy: Any
) -> Request:
    """A request for a job with this privacy, at δ = 1e-5 unless given."""
    return Request(
        privacy=Privacy(**({"delta": 1e-5, "clip_norm": 1.0} | privacy)),
        batch_size=batch_size,
        training_rows=training_rows,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
    )


def accounted(batch_size: int, training_rows: int, steps: int, **options: Any) -> Accounted:
    """What is found out about a job that has a guarantee."""
    found = answer(request(batch_size, training_rows, steps, **options))
    assert found.accounted is not None, found.problem
    return found.accounted


def problem(batch_size: int, training_rows: int, steps: int, **options: Any) -> FieldError:
    """Why a job has no guarantee."""
    found = answer(request(batch_size, training_rows, steps, **options))
    assert found.problem is not None, found.accounted
    return found.problem


def mechanism(batch_size: int, training_rows: int, **privacy: Any) -> SampledGaussian:
    """The mechanism of a job with this privacy."""
    wanted = request(batch_size, training_rows, 1, **({"noise_multiplier": 1.0} | privacy)).privacy
    return SampledGaussian.of(wanted, batch_size, training_rows)
