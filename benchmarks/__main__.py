"""`python -m benchmarks`: run the benchmarks; print the results, or write RESULTS.md."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import growth, machine
from benchmarks.contestants import GROUPS, QUICK, Contestant
from benchmarks.peers import ContestantFailed
from benchmarks.plots import draw
from benchmarks.report import REFERENCE, write
from benchmarks.results import Comparison, Results
from benchmarks.rounds import compare
from benchmarks.service import service
from benchmarks.tables import phases, plain, speeds, spread
from benchmarks.targets import outcomes, reasons
from benchmarks.workloads import WORKLOADS

HERE = Path(__file__).parent


def tell(line: str) -> None:
    """Print a progress line to stderr."""
    print(line, file=sys.stderr, flush=True)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The parsed command line; without options, all benchmarks run."""
    names = sorted({each.name for group in GROUPS.values() for each in group})
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="run a few contestants for 2 short rounds"
    )
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS))
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    parser.add_argument("--contestant", action="append", choices=names)
    parser.add_argument("--rounds", type=int, help="rounds, at least 1; default 7, quick 2")
    parser.add_argument("--seconds", type=float, help="length of a burst; default 1, quick 0.5")
    parser.add_argument(
        "--report", action="store_true", help="run nothing; rewrite RESULTS.md from results.json"
    )
    return parser.parse_args(words)


def chosen(group: str, workload: str, options: argparse.Namespace) -> list[Contestant]:
    """Contestants to run: those named; otherwise QUICK in a quick run; otherwise all."""
    named = options.contestant or (QUICK if options.quick else None)
    return [
        each
        for each in GROUPS[group]
        if workload in each.workloads and (named is None or each.name in named)
    ]


def everything(options: argparse.Namespace) -> bool:
    """Whether this run includes all benchmarks, so that its results may be published."""
    return not (options.quick or options.workload or options.group or options.contestant)


def run(options: argparse.Namespace) -> Results:
    """Run the benchmarks that `options` select."""
    rounds = options.rounds or (2 if options.quick else 7)
    seconds = options.seconds or (0.5 if options.quick else 1.0)
    groups = options.group or (["training"] if options.quick else list(GROUPS))
    comparisons: list[Comparison] = []
    described, versions = machine.describe(), machine.versions()
    with service() as ours:
        for name in options.workload or list(WORKLOADS):
            for group in groups:
                contestants = chosen(group, name, options)
                if not contestants:
                    continue
                found, theirs = compare(
                    WORKLOADS[name],
                    group,
                    contestants,
                    service=ours,
                    rounds=rounds,
                    seconds=seconds,
                    tell=tell,
                )
                comparisons.append(found)
                versions |= theirs
        grown = growth.measure(ours, seconds, tell) if everything(options) else []
    date = datetime.now(UTC).date().isoformat()
    return Results(described, versions, date, rounds, seconds, comparisons, grown)


def show(results: Results) -> None:
    """Print a short table for each comparison to stdout."""
    for comparison in results.comparisons:
        print(f"\n{comparison.workload}, {comparison.group}, N = {comparison.batch_size}")
        reference = REFERENCE[comparison.group]
        if reference not in comparison.contestants:
            reference = next(iter(comparison.contestants))
        print(plain(*speeds(comparison, reference)))
        if any(m.bursts[0].phases for m in comparison.contestants.values()):
            print("\nms a step by phase")
            print(plain(*phases(comparison)))
    print("\nTargets")
    for outcome in outcomes(results):
        print(
            f"{'met   ' if outcome.met else 'missed'}  {outcome.target.words}: "
            f"{spread(outcome.measured)}"
        )


def publish(results: Results) -> None:
    """Write RESULTS.md and its figures."""
    draw(results, HERE / "figures")
    (HERE / "RESULTS.md").write_text(write(results, reasons()))


def main(words: Sequence[str] | None = None) -> int:
    """Run, write and print the results; return 1 if a contestant failed."""
    options = arguments(words)
    if options.report:
        publish(Results.read(HERE / "results.json"))
        return 0
    try:
        results = run(options)
    except ContestantFailed as failure:
        tell(str(failure))
        return 1
    if everything(options):
        results.write(HERE / "results.json")
        publish(results)
    else:
        results.write(HERE / "results-quick.json")
    show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
