"""Tables of figures, in Markdown or as plain text for a terminal."""

from collections.abc import Sequence

from benchmarks.results import Comparison
from benchmarks.statistics import Spread, step_seconds, times_as_fast

Row = Sequence[str]


def markdown(heading: Row, rows: Sequence[Row], words: Sequence[int] = (0,)) -> str:
    """A Markdown table; the columns in `words` are text, the others figures."""
    rule = ["---" if column in words else "---:" for column in range(len(heading))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *rows))


def plain(heading: Row, rows: Sequence[Row]) -> str:
    """A plain text table with aligned columns."""
    every = [heading, *rows]
    widths = [max(len(row[i]) for row in every) for i in range(len(heading))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    )


def figure(value: float) -> str:
    """Three significant digits, no exponent: 0.0123, 1.23, 123, 12,300."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:#.3g}".rstrip(".")


def spread(value: Spread, scale: float = 1.0) -> str:
    """The median, then the smallest and the largest in brackets."""
    return (
        f"{figure(value.median * scale)} ({figure(value.low * scale)}–{figure(value.high * scale)})"
    )


SPEED_HEADING = ("", "ms a step", "steps/s", "examples/s", "times as fast as", "peak memory, MiB")


def speeds(comparison: Comparison, reference: str) -> tuple[Row, list[Row]]:
    """One row for each contestant, the fastest first; ratios are relative to `reference`."""
    heading = [*SPEED_HEADING]
    heading[4] = f"{reference} is … times as fast"
    rows: list[Row] = []
    order = sorted(
        comparison.contestants, key=lambda n: step_seconds(comparison.contestants[n]).median
    )
    for name in order:
        measured = comparison.contestants[name]
        seconds = step_seconds(measured)
        where = f" [{measured.placement}]" if measured.placement else ""
        rows.append(
            (
                f"{measured.title}{where}",
                spread(seconds, 1e3),
                figure(1 / seconds.median),
                figure(comparison.batch_size / seconds.median),
                "1" if name == reference else spread(times_as_fast(comparison, reference, name)),
                f"{measured.peak_bytes / 2**20:,.0f}",
            )
        )
    return heading, rows


def phases(comparison: Comparison) -> tuple[Row, list[Row]]:
    """Milliseconds a step by phase, medians over rounds, for batchgrad's jobs."""
    ours = {n: m for n, m in comparison.contestants.items() if m.bursts[0].phases}
    names = sorted({name for m in ours.values() for burst in m.bursts for name in burst.phases})
    rows: list[Row] = []
    for measured in ours.values():
        cells = [
            figure(Spread.of([b.phases.get(name, 0.0) for b in measured.bursts]).median * 1e3)
            for name in names
        ]
        inside = Spread.of([b.step_seconds - sum(b.phases.values()) for b in measured.bursts])
        rows.append((measured.title, *cells, figure(inside.median * 1e3)))
    return ("", *names, "between steps"), rows
