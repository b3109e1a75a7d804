"""A job's curves: buckets keep every extreme, and merged ones are those that are asked for."""

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Curves, StepRow
from batchgrad_engine.messages import Evaluated
from batchgrad_service.store.schema import step_blocks
from batchgrad_service.store.step_blocks import curves
from batchgrad_service.store.step_blocks.grid import Buckets, width_of
from tests.service.building import NOW, problem, report, row, started
from tests.service.conftest import Bench


@cache
def drawn(step: int) -> StepRow:
    """A row whose figures follow from its step; some are missing in some rows."""
    random = Random(step)
    made = row(step, random.lognormvariate(0, 2)).model_dump()
    made["time"] = NOW + timedelta(seconds=step)
    made["noise_scale"] = None if step % 3 else random.random()
    made["phases"] = {"compute": random.random(), **({"compare": 1.0} if step % 5 == 0 else {})}
    made["shortcuts"] = made["shortcuts"] if step % 7 else {}
    return StepRow.model_validate(made)


@pytest.mark.parametrize(
    ("last", "buckets", "width"),
    [(1, 512, 1), (512, 512, 1), (513, 512, 2), (1_000_000, 512, 2048), (9, 1, 16), (0, 512, 1)],
)
def test_the_grid_is_the_finest_that_suffices(last: int, buckets: int, width: int) -> None:
    assert width_of(last, buckets) == width


def expected(rows: list[StepRow], width: int, of: Callable[[StepRow], float | None]) -> list[Any]:
    """Count, low and high of each bucket, by a plain loop."""
    found: dict[int, list[float]] = {}
    for one in rows:
        values = found.setdefault((one.step - 1) // width, [])
        if (value := of(one)) is not None:
            values.append(value)
    return [(len(one), min(one, default=None), max(one, default=None)) for one in found.values()]


def gap(one: StepRow) -> float | None:
    return one.shortcuts["averaged_error"].relative_error if one.shortcuts else None


def told(bench: Bench, job_id: str, **query: int) -> Curves:
    answer = bench.http.get(f"/v1/jobs/{job_id}/curves", params=query)
    assert answer.status_code == 200, answer.text
    return Curves.model_validate(answer.json())


def test_buckets_are_those_of_a_plain_loop(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    job_id, attempt = started(bench.store)
    assert told(bench, job_id).figures == {}
    rows = [drawn(step) for step in range(1, 101)]
    for at in range(0, 100, 9):
        bench.store.record_report(job_id, attempt, report(*rows[at : at + 9]))
    for buckets, width in ((512, 1), (50, 2), (13, 8), (1, 128)):
        found = told(bench, job_id, buckets=buckets)
        assert found.width == width
        assert found.first == rows[0]
        assert found.last is not None
        assert found.last.step == 100
        for name, of in {
            "loss": lambda one: one.loss,
            "noise_scale": lambda one: one.noise_scale,
            "shortcuts.averaged_error.relative_error": gap,
            "step": lambda one: one.step,
        }.items():
            one = found.figures[name]
            assert [*zip(one.count, one.low, one.high, strict=True)] == expected(rows, width, of)
        compared = found.figures["phases.compare"]
        assert sum(compared.count) == sum(compared.sum) == 20
        assert np.isclose(sum(found.figures["loss"].sum), sum(one.loss or 0 for one in rows))
    assert problem(bench.http.get(f"/v1/jobs/{job_id}/curves?buckets=513"), 422)
    assert problem(bench.http.get("/v1/jobs/none/curves"), 404)


def parsed(found: Curves) -> Buckets:
    """What a reader has: index and (4, buckets) of each figure."""
    figures = {
        name: np.array([one.sum, one.count, one.low, one.high], np.float64)
        for name, one in found.figures.items()
    }
    return Buckets(found.width, (figures["step"][2].astype(int) - 1) // found.width, figures)


def same(one: Buckets, other: Buckets) -> bool:
    """Whether they are equal, bit by bit."""
    return (
        one.width == other.width
        and one.index.tolist() == other.index.tolist()
        and one.figures.keys() == other.figures.keys()
        and all(
            one.figures[name].tobytes() == other.figures[name].tobytes() for name in one.figures
        )
    )


def test_a_reader_that_merges_has_what_a_request_for_all_gives(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while rows are stored as buckets, thinned out, and computed again by an attempt."""
    monkeypatch.setattr(curves, "MOST_LACKING", 300)
    monkeypatch.setattr(curves, "EXTENDED_ROWS", 200)
    bench, random = make_bench(), Random(3)
    job_id, attempt = started(bench.store)
    mine: Buckets | None = None
    step = 0
    while step < 9000:
        more = [drawn(step + i) for i in range(1, random.randint(2, 400))]
        bench.store.record_report(job_id, attempt, report(*more))
        step = more[-1].step
        after = 0 if mine is None else (mine.index[-1]) * mine.width
        found = told(bench, job_id, after=after, buckets=64)
        new = parsed(found)
        if mine is not None:
            kept = mine.widened(new.width).within(0, found.after)
            new = Buckets.joined([kept, new], new.width)
        mine = new
    assert mine is not None
    assert same(mine, parsed(told(bench, job_id, buckets=64)))
    with bench.store.reading() as connection:
        assert curves.covered(connection, job_id) > 1000
        levels = connection.execute(step_blocks.select()).mappings().all()
        assert max(block["level"] for block in levels) > 0  # so extremes are kept of lost rows
    rows = [drawn(one) for one in range(1, step + 1)]
    loss = told(bench, job_id).figures["loss"]
    assert [*zip(loss.count, loss.low, loss.high, strict=True)] == expected(
        rows, told(bench, job_id).width, lambda one: one.loss
    )


def test_rows_that_are_thinned_out_leave_their_extremes(bench: Bench) -> None:
    """Though nobody looked at the charts before."""
    job_id, attempt = started(bench.store)
    rows = [drawn(step) for step in range(1, 9001)]
    for at in range(0, len(rows), 300):
        bench.store.record_report(job_id, attempt, report(*rows[at : at + 300]))
    assert len(bench.store.thinned_steps(job_id, 10_000)) < len(rows)
    loss = told(bench, job_id).figures["loss"]
    found = [*zip(loss.count, loss.low, loss.high, strict=True)]
    assert found == expected(rows, 32, lambda one: one.loss)
    bench.store.record_report(job_id, attempt, report(*rows[3043:]))  # after a restart
    loss = told(bench, job_id).figures["loss"]
    assert [*zip(loss.count, loss.low, loss.high, strict=True)] == found


def test_steps_that_are_computed_again_replace_their_buckets(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "MOST_LACKING", 100)
    bench = make_bench()
    job_id, attempt = started(bench.store)
    bench.store.record_report(job_id, attempt, report(*(row(step) for step in range(1, 1201))))
    assert told(bench, job_id).width == 4
    with bench.store.reading() as connection:
        assert curves.covered(connection, job_id) == 1200
    again = [row(step, 5.0) for step in range(1002, 1004)]
    bench.store.record_report(job_id, attempt, report(*again))
    loss = told(bench, job_id).figures["loss"]
    assert loss.high[249:252] == [1.0, 5.0, 1.0]
    assert loss.sum[249:252] == [4.0, 12.0, 4.0]
    assert sum(loss.count) == 1200


def test_evaluations_are_the_first_and_each_bucket_s_last(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    job_id, attempt = started(bench.store)
    evaluations = [
        Evaluated(step=step, epoch=step, validation_loss=1 / step, validation_accuracy=None)
        for step in range(1, 41)
    ]
    rows = [row(step) for step in range(1, 41)]
    bench.store.record_report(job_id, attempt, report(*rows, evaluations=evaluations))
    found = told(bench, job_id, buckets=5)
    assert [one["step"] for one in found.evaluations] == [1, 8, 16, 24, 32, 40]
    newer = told(bench, job_id, buckets=5, after=20)
    assert [one["step"] for one in newer.evaluations] == [24, 32, 40]
