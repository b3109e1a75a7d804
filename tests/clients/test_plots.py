"""Loss curves in characters and in files."""

from pathlib import Path

import pytest

from batchgrad.display import plots

FALLING = [(step, 2.0 * 0.98**step, 8.0) for step in range(1, 301)]
EXPLODING = [(step, 2.0 * 1.5**step, 8.0) for step in range(1, 50)]


def test_terminal_plot_names_every_curve_and_fits_its_width() -> None:
    drawn = plots.on_terminal({"exact": FALLING, "wrong": EXPLODING}, width=60)
    assert "exact" in drawn
    assert "wrong" in drawn
    assert "o" in drawn
    assert "x" in drawn
    assert max(map(len, drawn.splitlines())) < 60 + 30
    assert "\x1b" not in drawn


def test_curve_that_explodes_is_cut_where_it_leaves_the_rest() -> None:
    kept = plots.within_ceiling(EXPLODING)
    assert kept == EXPLODING[: len(kept)]
    assert 0 < len(kept) < 10
    assert kept[-1][1] <= 10 * EXPLODING[0][1] < EXPLODING[len(kept)][1]
    assert plots.within_ceiling(FALLING) == FALLING


def test_negative_losses_are_drawn_too() -> None:
    """linear_error falls below 0: no logarithm then."""
    drawn = plots.on_terminal({"exact": [(1, 1.0, 1.0), (2, -1.0, 1.0), (3, -3.0, 1.0)]})
    assert "-" in drawn


@pytest.mark.parametrize("curves", [{}, {"exact": []}])
def test_nothing_to_draw_is_said(curves: dict[str, plots.Curve]) -> None:
    assert plots.on_terminal(curves) == "No loss to plot."


@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_file_is_what_its_name_says(tmp_path: Path, ending: str, magic: bytes) -> None:
    path = tmp_path / f"losses{ending}"
    plots.check_file(path)
    plots.to_file(path, {"exact": FALLING, "wrong": EXPLODING, "none": []}, "digits")
    assert path.read_bytes().startswith(magic)


def test_points_that_are_drawn_as_one_count_by_their_examples() -> None:
    """Every second step holds one example, the others 64."""
    curve = [(step, 100.0 if step % 2 else 1.0, 1.0 if step % 2 else 64.0) for step in range(96)]
    thinned = plots._thinned(curve, points=48)
    assert len(thinned) == 48
    assert {round(loss, 9) for _, loss, _ in thinned} == {round(164 / 65, 9)}
    assert thinned[0][0] == 1
