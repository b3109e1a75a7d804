"""The model of a step: against hand computation, known costs, and measurements."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from batchgrad_engine.executors.ray import exchange, siblings, transport
from benchmarks.scale import RESULTS
from benchmarks.scaling.document import DOCUMENT, IMAGES, renew
from benchmarks.scaling.fitting import NOTHING, check, cluster, fit, job, predict
from benchmarks.scaling.measured import CASES, Case, Measurements, Sent, Timed
from benchmarks.scaling.model import (
    BY_VALUE_BYTES,
    FAN_OUT,
    SHARED_BYTES,
    Cluster,
    Costs,
    Exchange,
    Job,
    among_siblings,
    step,
)
from benchmarks.scaling.plots import draw
from benchmarks.scaling.predictions import best, examples_for_half

CORES = 2
COSTS = Costs(
    microbatch=1e-4,
    microbatch_parameter=4e-10,
    example_parameter=6e-11,
    contention=0.25,
    rest=2e-4,
    rest_parameter=3e-9,
    rest_example=1e-6,
    add_byte=1e-10,
    link_share=0.95,
    overlap=0.3,
    call=1e-3,
    call_worker=5e-4,
    objects=4e-3,
    objects_worker=5e-3,
    ray_byte=1e-9,
)
LINK_ALONE = replace(NOTHING, link_share=1.0)


def test_a_link_carries_theta_to_every_other_node_and_their_sums_back() -> None:
    P, bits_per_second = 10**6, 10**8
    found = step(LINK_ALONE, Job(P, 4 * 32, 32), Cluster(4, bits_per_second))
    assert found.out == pytest.approx(3 * 4 * P * 8 / bits_per_second)
    assert found.seconds == pytest.approx(2 * found.out)


def test_ranges_that_are_not_aligned_send_more_sums() -> None:
    # M = 8 on three workers: ranges 0-2, 2-5, 5-8 are 1, 2 and 2 nodes of the tree; the
    # coordinator's own worker takes two of them.
    found = step(LINK_ALONE, Job(10**6, 8 * 32, 32), Cluster(3, 1e8))
    assert found.back / found.out == pytest.approx(3 / 2)


def test_sums_that_arrive_while_theta_is_sent_take_no_extra_time() -> None:
    # Fully: one node after the other gets θ, so all but one sum are in when the last has it.
    times = [
        step(replace(LINK_ALONE, overlap=overlap), Job(10**6, 4 * 32, 32), Cluster(4, 1e8)).seconds
        for overlap in (0, 1)
    ]
    assert times[0] / times[1] == pytest.approx(6 / 4)


def test_one_node_does_not_wait_for_a_link() -> None:
    alone = step(COSTS, Job(10**6, 256, 64), Cluster(1, 1e6))
    assert alone == step(COSTS, Job(10**6, 256, 64), Cluster(1, inf))
    assert alone.seconds == pytest.approx(4 * (1e-4 + 4e-4 + 6e-5 * 64) + (2e-4 + 3e-3 + 256e-6))


def test_short_arrays_cost_no_objects() -> None:
    assert BY_VALUE_BYTES == transport.BY_VALUE_BYTES
    short, long = (step(COSTS, Job(p, 64, 32), Cluster(2)).calls for p in (25_000, 25_001))
    assert short == pytest.approx(1.5e-3)
    assert long == pytest.approx(1.5e-3 + 9e-3)


def test_nodes_without_a_microbatch_cost_nothing() -> None:
    assert step(COSTS, Job(10**6, 128, 32), Cluster(100, 1e9)) == step(
        COSTS, Job(10**6, 128, 32), Cluster(4, 1e9)
    )


def test_hosts_that_share_cores_slow_each_other_down() -> None:
    costs, work = replace(COSTS, ray_byte=0), Job(10**6, 5 * 64, 64)
    alone = step(costs, work, Cluster(5)).compute
    # Through a slow link θ arrives when the head's own share is done; through a fast one before.
    for bits_per_second, computing in ((1e8, 4), (inf, 5)):
        shared = step(costs, work, Cluster(5, bits_per_second, shared_cores=CORES))
        assert shared.compute == pytest.approx(computing / CORES * alone)


def test_siblings_send_theta_by_levels_and_log2_of_the_nodes_in_sums() -> None:
    work = Job(10**6, 64 * 32, 32)
    star, tree = (step(LINK_ALONE, work, Cluster(64, 1e9), siblings=s) for s in (False, True))
    assert star.out / tree.out == pytest.approx(63 / (5 * 2 + 1))  # 2, 4, 8, 16, 32 nodes; 1 more
    assert star.back / tree.back == pytest.approx(63 / 6)


def test_siblings_of_four_nodes_pass_theta_on_once_and_join_once() -> None:
    """The second node's sums, and those of the third and fourth together, reach the first."""
    assert (FAN_OUT, SHARED_BYTES) == (siblings.FAN_OUT, exchange.SHARED_BYTES)
    assert among_siblings(4, 4, 1, 3) == Exchange(out=3, back=2, objects=2, calls=2)
    assert among_siblings(8, 8, 1, 7) == Exchange(out=5, back=3, objects=3, calls=3 + 4)
    assert among_siblings(2, 2, 1, 1) == Exchange(out=1, back=1, objects=1, calls=0)


def test_sums_of_two_bytes_a_number_take_half_the_time_on_a_link() -> None:
    wide, narrow = (
        step(
            LINK_ALONE,
            Job(10**6, 64 * 32, 32, sum_number_bytes=size),
            Cluster(64, 1e9),
            siblings=True,
        )
        for size in (4, 2)
    )
    assert narrow.back == pytest.approx(wide.back / 2)
    assert narrow.out == wide.out
    assert narrow.compute == wide.compute


def made(costs: Costs) -> Measurements:
    """Measurements that agree with the model exactly."""
    timed = []
    for case in CASES:
        parts = step(costs, job(case), cluster(case, CORES))
        phases = {"compute": max(parts.own, parts.away)}
        timed.append(Timed(case, 10, predict(costs, case, CORES), phases, [1.0], 0.0))
    sent = [
        Sent(megabits, size, 0.01 + 8 * size / (costs.link_share * megabits * 1e6))
        for megabits in (100, 1000)
        for size in (10**6, 10**7)
    ]
    return Measurements({"cores": CORES}, {}, "2026-01-01", costs.add_byte, sent, timed)


def test_fitting_recovers_the_costs_that_made_the_times() -> None:
    found = fit(made(COSTS))
    assert found.link_share == pytest.approx(COSTS.link_share)
    for name in ("microbatch", "microbatch_parameter", "example_parameter", "contention"):
        assert getattr(found, name) == pytest.approx(getattr(COSTS, name), rel=1e-6), name
    for each in check(made(COSTS), found):
        assert each.ratio == pytest.approx(1, abs=1e-3), each


def test_checked_cases_do_not_change_the_fit() -> None:
    slow = made(COSTS)
    slow = replace(
        slow,
        timed=[
            replace(t, step_seconds=9 * t.step_seconds) if t.case.purpose == "check" else t
            for t in slow.timed
        ],
    )
    assert fit(slow) == fit(made(COSTS))
    assert {round(each.ratio, 2) for each in check(slow, fit(slow))} == {0.11}


def test_checked_cases_differ_from_fitted_ones_and_have_two_bandwidths() -> None:
    fitted = {case._replace(purpose="check") for case in CASES if case.purpose == "fit"}
    checked = [case for case in CASES if case.purpose == "check"]
    assert not fitted & set(checked)
    assert {(case.hosts, case.megabits) for case in checked} >= {
        (0, None), (1, None), (2, 100), (2, 1000), (3, 100), (3, 1000),
    }  # fmt: skip
    assert Case("check", 3, 100, 1000, 96, 32).parameters == 1000 * 1076 + 10


def test_the_model_is_within_20_percent_of_the_measurements() -> None:
    found = Measurements.read(RESULTS)
    checked = check(found, fit(found))
    assert len(checked) == sum(case.purpose == "check" for case in CASES)
    for each in checked:
        assert 0.8 <= each.ratio <= 1.2, each


def test_the_tables_of_the_document_match_the_measurements(tmp_path: Path) -> None:
    found = Measurements.read(RESULTS)
    text = DOCUMENT.read_text("utf-8")
    assert renew(text, found) == text
    for figure in draw(found, tmp_path):
        assert f"images/{figure.name}" in text
        assert (IMAGES / figure.name).exists()


def test_a_table_without_markers_is_named() -> None:
    with pytest.raises(ValueError, match="<!-- checks -->"):
        renew("", made(COSTS))


def test_more_nodes_help_less_where_the_link_is_slower() -> None:
    slow, fast = (best(COSTS, 10**7, gigabits) for gigabits in (1, 100))
    assert slow.nodes < fast.nodes
    assert slow.speed_up < fast.speed_up


def test_more_nodes_need_more_examples() -> None:
    few, many = (examples_for_half(COSTS, 10**7, nodes, 10) for nodes in (2, 16))
    assert few is not None
    assert many is not None
    assert many > 8 * few
