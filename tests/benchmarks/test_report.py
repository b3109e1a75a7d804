"""Targets, reasons, and the text of RESULTS.md."""

from pathlib import Path

import pytest

from benchmarks.contestants import GROUPS, QUICK
from benchmarks.plots import draw
from benchmarks.report import write
from benchmarks.results import Burst, Comparison, GrowthPoint, Measured, Results
from benchmarks.targets import TARGETS, outcomes, reasons
from benchmarks.workloads import WORKLOADS


def results(**milliseconds: float) -> Results:
    """Results of one comparison, wide: contestants and their step times."""
    contestants = {
        name.replace("_", "-"): Measured(name, [Burst(1, ms / 1e3, {"compute": ms / 2e3})], 2**20)
        for name, ms in milliseconds.items()
    }
    machine = {
        "cpu": "A CPU",
        "cores": 2,
        "memory_bytes": 2**30,
        "load_at_start": 0.1,
        "system": "Linux",
    }
    comparison = Comparison("wide", "training", 1024, contestants)
    growth = [GrowthPoint("wide", "N", n, [n / 1e3]) for n in (1, 2)]
    return Results(machine, {"numpy": "2"}, "2026-01-01", 1, 1.0, [comparison], growth)


def test_targets_are_met_or_missed_by_the_median() -> None:
    found = {
        o.target.key: o for o in outcomes(results(ours_auto=10, torch_1=20, torch_2=9, ddp_2=12.5))
    }

    assert set(found) == {"wide-torch", "wide-ddp"}
    assert found["wide-ddp"].met
    assert not found["wide-torch"].met
    assert found["wide-torch"].missed_by == pytest.approx(0.1)


@pytest.mark.parametrize(("plain", "met"), [(9, True), (8, False)])
def test_an_upper_limit_is_met_up_to_its_value(plain: float, met: bool) -> None:
    (found,) = outcomes(results(ours_plain_1=plain, ours_inline_1=10))

    assert found.target.key == "wide-everything"
    assert found.met is met


def test_every_target_names_contestants_that_run_on_its_workload() -> None:
    for target in TARGETS:
        there = {c.name for c in GROUPS[target.group] if target.workload in c.workloads}
        assert {target.name, *target.others} <= there, target.key
    assert len({target.key for target in TARGETS}) == len(TARGETS)
    assert set(QUICK) <= {c.name for c in GROUPS["training"]}
    assert {w for group in GROUPS.values() for c in group for w in c.workloads} == set(WORKLOADS)


def test_reasons_are_refused_for_unknown_targets(tmp_path: Path) -> None:
    assert set(reasons()) <= {target.key for target in TARGETS}
    (tmp_path / "reasons.toml").write_text('gone = "no such target"')

    with pytest.raises(ValueError, match=r"explains gone: no target has that key"):
        reasons(tmp_path / "reasons.toml")


def test_the_report_lists_missed_targets_with_reasons_and_faster_peers() -> None:
    text = write(
        results(ours_auto=10, torch_1=20, torch_2=9, ddp_2=12.5), {"wide-torch": "Because."}
    )

    assert "1 of 2 are met." in text
    assert "**no**, by 10% | Because. |" in text
    assert "- wide: torch_2 is 1.11 (1.11–1.11) times as fast as ours_auto." in text
    assert "ddp_2 is" not in text
    assert "not quiet" not in text


def test_a_busy_machine_is_noted_in_the_report() -> None:
    found = results(ours_auto=10)
    found.machine["load_at_start"] = 1.5

    assert "**The machine was not quiet**: a load of 1.5" in write(found, {})


def test_results_are_equal_after_a_round_trip_through_json(tmp_path: Path) -> None:
    found = results(ours_auto=10, torch_2=9)
    found.write(tmp_path / "results.json")

    assert Results.read(tmp_path / "results.json") == found


def test_a_figure_is_drawn_for_each_group_that_was_run(tmp_path: Path) -> None:
    drawn = draw(results(ours_auto=10, gemm_1=5, torch_2=9), tmp_path / "figures")

    assert [path.name for path in drawn] == ["training.png", "growth.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
