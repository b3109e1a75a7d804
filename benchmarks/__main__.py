"""`python -m benchmarks`: run, and show or write what was found."""

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
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for; without any flag, everything."""
    names = sorted({each.name for group in GROUPS.values() for each in group})
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few contestants, 2 short rounds")
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS))
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    parser.add_argument("--contestant", action="append", choices=names)
    parser.add_argument("--rounds", type=int, help="at least 1; default 7, quick 2")
    parser.add_argument("--seconds", type=float, help="of a burst; default 1, quick 0.5")
    parser.add_argument(
        "--report", action="store_true", help="run nothing: RESULTS.md again from results.json"
    )
    return parser.parse_args(words)


def chosen(group: str, workload: str, told: argparse.Namespace) -> list[Contestant]:
    """Who runs: what was named; else, in a quick run, a few; else everybody who can."""
    named = told.contestant or (QUICK if told.quick else None)
    return [
        each
        for each in GROUPS[group]
        if workload in each.workloads and (named is None or each.name in named)
    ]


def everything(told: argparse.Namespace) -> bool:
    """Whether this run is the whole of it, and may be written down as the results."""
    return not (told.quick or told.workload or told.group or told.contestant)


def run(told: argparse.Namespace) -> Results:
    """Run what was asked for."""
    rounds = told.rounds or (2 if told.quick else 7)
    seconds = told.seconds or (0.5 if told.quick else 1.0)
    groups = told.group or (["training"] if told.quick else list(GROUPS))
    comparisons: list[Comparison] = []
    described, versions = machine.describe(), machine.versions()
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
        grown = growth.measure(ours, seconds, tell) if everything(told) else []
    date = datetime.now(UTC).date().isoformat()
    return Results(described, versions, date, rounds, seconds, comparisons, grown)


def show(results: Results) -> None:
    """A short table a comparison, on stdout."""
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
    """RESULTS.md and its figures."""
    draw(results, HERE / "figures")
    (HERE / "RESULTS.md").write_text(write(results, reasons()))


def main(words: Sequence[str] | None = None) -> int:
    """Run, show, write; 1 if a contestant failed."""
    told = arguments(words)
    if told.report:
        publish(Results.read(HERE / "results.json"))
        return 0
    try:
        results = run(told)
    except ContestantFailed as failure:
        tell(str(failure))
        return 1
    if everything(told):
        results.write(HERE / "results.json")
        publish(results)
    else:
        results.write(HERE / "results-quick.json")
    show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
