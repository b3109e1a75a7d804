"""`python -m benchmarks`: run, and show or write what was found."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.contestants import GROUPS, QUICK, Contestant
from benchmarks.peers import ContestantFailed
from benchmarks.results import Comparison, Results
from benchmarks.rounds import compare
from benchmarks.service import service
from benchmarks.tables import phases, plain, speeds
from benchmarks.workloads import WORKLOADS

HERE = Path(__file__).parent


def tell(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for; without any flag, everything."""
    names = sorted({each.name for group in GROUPS.values() for each in group})
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few contestants, 3 short rounds")
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS))
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    parser.add_argument("--contestant", action="append", choices=names)
    parser.add_argument("--rounds", type=int, help="at least 1; default 7, quick 3")
    parser.add_argument("--seconds", type=float, help="of a burst; default 1, quick 0.5")
    return parser.parse_args(words)


def chosen(group: str, workload: str, told: argparse.Namespace) -> list[Contestant]:
    """Who runs: what was named; else, in a quick run, a few; else everybody who can."""
    named = told.contestant or (QUICK if told.quick else None)
    return [
        each
        for each in GROUPS[group]
        if workload in each.workloads and (named is None or each.name in named)
    ]


def run(told: argparse.Namespace) -> Results:
    """Run what was asked for."""
    rounds = told.rounds or (3 if told.quick else 7)
    seconds = told.seconds or (0.5 if told.quick else 1.0)
    groups = told.group or (["training"] if told.quick else list(GROUPS))
    comparisons: list[Comparison] = []
    versions = machine.versions()
    with service() as ours:
        for name in told.workload or list(WORKLOADS):
            for group in groups:
                found, theirs = compare(
                    WORKLOADS[name],
                    group,
                    chosen(group, name, told),
                    service=ours,
                    rounds=rounds,
                    seconds=seconds,
                    tell=tell,
                )
                comparisons.append(found)
                versions |= theirs
    date = datetime.now(UTC).date().isoformat()
    return Results(machine.describe(), versions, date, rounds, seconds, comparisons)


def show(results: Results) -> None:
    """A short table a comparison, on stdout."""
    for comparison in results.comparisons:
        print(f"\n{comparison.workload}, {comparison.group}, N = {comparison.batch_size}")
        print(plain(*speeds(comparison, next(iter(comparison.contestants)))))
        if any(m.bursts[0].phases for m in comparison.contestants.values()):
            print("\nms a step by phase")
            print(plain(*phases(comparison)))


def main(words: Sequence[str] | None = None) -> int:
    """Run, show; 1 if a contestant failed."""
    told = arguments(words)
    try:
        results = run(told)
    except ContestantFailed as failure:
        tell(str(failure))
        return 1
    if told.quick:
        results.write(HERE / "results-quick.json")
    show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
