"""Loss curves in characters and in files."""

import re
from pathlib import Path

import pytest

from batchgrad.display import plots

FALLING = [(step, 2.0 * 0.98**step, 8.0) for step in range(1, 301)]
EXPLODING = [(step, 2.0 * 1.5**step, 8.0) for step in range(1, 50)]


def rows(drawn: str) -> list[tuple[str, str]]:
    """Axis label and plot text of each row, from the top."""
    picture = drawn[: drawn.index("\n---")].splitlines()[1:]
    return [(line[:10].strip(), line[12:]) for line in picture]


def places(drawn: str, marker: str) -> list[tuple[int, int]]:
    """Row and column of each of the markers, from left to right."""
    found = [
        (k, column)
        for k, (_, row) in enumerate(rows(drawn))
        for column, character in enumerate(row)
        if character == marker
    ]
    return sorted(found, key=lambda place: place[1])


def test_terminal_plot_draws_and_names_every_curve_and_fits_its_width() -> None:
    drawn = plots.on_terminal({"exact": FALLING, "wrong": EXPLODING}, width=60)
    falling, exploding = places(drawn, "o"), places(drawn, "x")
    legend = drawn[drawn.index("Legend") :]
    assert re.search("o. exact", legend)
    assert re.search("x. wrong", legend)
    assert len(falling) > 20
    assert [row for row, _ in falling] == sorted(row for row, _ in falling)
    assert falling[-1][0] - falling[0][0] > 5
    assert len(exploding) > 2
    assert exploding[-1][0] < exploding[0][0] <= falling[0][0]
    assert exploding[-1][1] < falling[-1][1] / 10
    assert max(map(len, drawn.splitlines())) < 60 + 30
    assert "\x1b" not in drawn


def test_curve_that_explodes_is_cut_where_it_leaves_the_rest() -> None:
    kept = plots.within_ceiling(EXPLODING)
    assert kept == EXPLODING[: len(kept)]
    assert 0 < len(kept) < 10
    assert kept[-1][1] <= 10 * EXPLODING[0][1] < EXPLODING[len(kept)][1]
    assert plots.within_ceiling(FALLING) == FALLING


def test_scale_is_linear_where_a_loss_is_not_positive() -> None:
    """linear_error falls below 0, which has no logarithm."""
    straight = [(step, 1.0 - 2 * step / 50, 1.0) for step in range(51)]
    drawn = plots.on_terminal({"exact": straight})
    shown = places(drawn, "o")
    assert len(shown) > 20
    first, last = shown[0], shown[-1]
    for row, column in shown:
        along = (column - first[1]) / (last[1] - first[1])
        assert row == pytest.approx(first[0] + along * (last[0] - first[0]), abs=1)
    assert float(rows(drawn)[first[0]][0]) > 0.5
    assert float(rows(drawn)[last[0]][0]) < -0.5


@pytest.mark.parametrize("curves", [{}, {"exact": []}])
def test_a_plot_without_losses_says_so(curves: dict[str, plots.Curve]) -> None:
    assert plots.on_terminal(curves) == "No loss to plot."


@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_file_is_what_its_name_says(tmp_path: Path, ending: str, magic: bytes) -> None:
    path = tmp_path / f"losses{ending}"
    plots.check_file(path)
    plots.to_file(path, {"exact": FALLING, "wrong": EXPLODING, "none": []}, "digits")
    assert path.read_bytes().startswith(magic)


def test_points_that_are_drawn_as_one_count_by_their_examples() -> None:
    """Every second step has one example, the others 64."""
    curve = [(step, 100.0 if step % 2 else 1.0, 1.0 if step % 2 else 64.0) for step in range(96)]
    thinned = plots._thinned(curve, points=48)
    assert len(thinned) == 48
    assert {round(loss, 9) for _, loss, _ in thinned} == {round(164 / 65, 9)}
    assert thinned[0][0] == 1
