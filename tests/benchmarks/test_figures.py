"""Ratios of rounds, the format of figures, and tables."""

import pytest

from benchmarks.results import Burst, Comparison, Measured
from benchmarks.statistics import Spread, fastest, step_seconds, times_as_fast
from benchmarks.tables import figure, markdown, phases, plain, speeds, spread


def measured(title: str, *milliseconds: float, **phase: float) -> Measured:
    bursts = [Burst(10, 10 * ms / 1e3, phase) for ms in milliseconds]
    return Measured(title, bursts, 2**20)


COMPARISON = Comparison(
    "wide",
    "training",
    1000,
    {
        "ours": measured("Ours", 10, 20, 40, compute=0.008),
        "theirs": measured("Theirs", 15, 40, 50),
    },
)


def test_ratios_are_taken_within_a_round_before_the_median() -> None:
    ratio = times_as_fast(COMPARISON, "ours", "theirs")

    # 15/10, 40/20, 50/40: not the ratio of the medians, which is the 2 of the slow round.
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((1.5, 1.25, 2.0))
    assert times_as_fast(COMPARISON, "theirs", "ours").median == pytest.approx(1 / 1.5)


def test_a_contestant_that_missed_a_round_has_no_ratio() -> None:
    short = Comparison("w", "training", 1, {"a": measured("a", 1), "b": measured("b", 1, 2)})

    with pytest.raises(ValueError, match="zip"):
        times_as_fast(short, "a", "b")


def test_the_fastest_contestant_has_the_smallest_median() -> None:
    assert fastest(COMPARISON, ["theirs", "ours"]) == "ours"
    assert step_seconds(COMPARISON.contestants["theirs"]).median == pytest.approx(0.040)


def test_a_spread_of_no_values_is_refused() -> None:
    with pytest.raises(ValueError, match="No rounds"):
        Spread.of([])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1, "1.00"),
        (12.345, "12.3"),
        (99.96, "100"),
        (123.4, "123"),
        (12345.6, "12,300"),
        (-12345.6, "-12,300"),
    ],
)
def test_figures_have_three_digits_and_no_exponent(value: float, written: str) -> None:
    assert figure(value) == written


def test_a_spread_is_written_with_smallest_and_largest() -> None:
    assert spread(Spread(0.002, 0.001, 0.01), 1e3) == "2.00 (1.00–10.0)"


def test_rows_are_sorted_by_speed_with_ratios_to_the_reference() -> None:
    heading, rows = speeds(COMPARISON, "theirs")

    assert heading[4] == "theirs is … times as fast"
    assert [row[0] for row in rows] == ["Ours", "Theirs"]
    assert rows[0][1:4] == ("20.0 (10.0–40.0)", "50.0", "50,000")
    assert rows[0][4] == "0.667 (0.500–0.800)"
    assert rows[1][4] == "1"


def test_phases_are_listed_with_the_time_between_steps() -> None:
    heading, rows = phases(COMPARISON)

    assert heading == ("", "compute", "between steps")
    assert rows == [("Ours", "8.00", "12.0")]


def test_markdown_and_plain_tables_are_aligned() -> None:
    rows = [("a", "1"), ("bbb", "22")]

    assert markdown(("", "n"), rows) == "|  | n |\n| --- | ---: |\n| a | 1 |\n| bbb | 22 |"
    assert plain(("", "n"), rows) == "      n\na     1\nbbb  22"
