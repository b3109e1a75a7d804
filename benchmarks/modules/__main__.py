"""`python -m benchmarks.modules`: PyTorch modules on batchgrad and its peers; writes TORCH.md."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.contestants import Contestant, Ours
from benchmarks.modules.contestants import GROUPS, QUICK, QUICK_WORKLOADS, spec
from benchmarks.modules.report import reference, write
from benchmarks.modules.targets import REASONS, TARGETS
from benchmarks.modules.workloads import WORKLOADS, ModuleWorkload, data
from benchmarks.peers import ContestantFailed, Running
from benchmarks.results import Comparison, Measured, Results
from benchmarks.rounds import Ready, take_turns
from benchmarks.service import Jobs, Service, service
from benchmarks.tables import phases, plain, speeds
from benchmarks.targets import reasons

HERE = Path(__file__).parent
REPORT = HERE.parent / "TORCH.md"
STORED = HERE / "results.json"


def tell(line: str) -> None:
    """Print a progress line to stderr."""
    print(line, file=sys.stderr, flush=True)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The parsed command line; without options, all benchmarks run."""
    names = sorted({each.name for group in GROUPS.values() for each in group})
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modules", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two workloads, a few contestants, 2 short rounds"
    )
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS))
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    parser.add_argument("--contestant", action="append", choices=names)
    parser.add_argument("--rounds", type=int, help="rounds, at least 1; default 7, quick 2")
    parser.add_argument("--seconds", type=float, help="length of a burst; default 1, quick 0.5")
    parser.add_argument(
        "--report", action="store_true", help="run nothing; rewrite TORCH.md from results.json"
    )
    return parser.parse_args(words)


def chosen(group: str, options: argparse.Namespace) -> list[Contestant]:
    """Contestants to run: those named; otherwise QUICK's in a quick run; otherwise all."""
    named = options.contestant or (QUICK[group] if options.quick else None)
    return [each for each in GROUPS[group] if named is None or each.name in named]


def compare(
    workload: ModuleWorkload,
    group: str,
    contestants: Sequence[Contestant],
    start: Callable[[Contestant], Ready],
    rounds: int,
    seconds: float,
) -> tuple[Comparison, dict[str, str]]:
    """Run contestants alternately; return the comparison and the versions of their libraries."""
    with ExitStack() as stack:
        ready: dict[str, Ready] = {}
        versions: dict[str, str] = {}
        for each in contestants:  # one after the other: to start takes both cores
            tell(f"{workload.name}: preparing {each.name}")
            ready[each.name] = start(each)
            stack.callback(ready[each.name].close)
            versions |= ready[each.name].prepare()
        bursts = take_turns(ready, rounds, seconds, tell)
        measured = {
            each.name: Measured(
                each.title,
                bursts[each.name],
                ready[each.name].peak_bytes(),
                ready[each.name].placement,
            )
            for each in contestants
        }
    return Comparison(workload.name, group, workload.batch_size, measured), versions


def run(options: argparse.Namespace) -> Results:
    """Run the benchmarks that `options` select."""
    rounds = options.rounds or (2 if options.quick else 7)
    seconds = options.seconds or (0.5 if options.quick else 1.0)
    comparisons: list[Comparison] = []
    described, versions = machine.describe(), machine.versions()
    with service() as ours:
        for name in options.workload or (QUICK_WORKLOADS if options.quick else WORKLOADS):
            for group in options.group or GROUPS:
                contestants = chosen(group, options)
                if contestants:
                    start = _starter(WORKLOADS[name], ours)
                    found, theirs = compare(
                        WORKLOADS[name], group, contestants, start, rounds, seconds
                    )
                    comparisons.append(found)
                    versions |= theirs
    date = datetime.now(UTC).date().isoformat()
    return Results(described, versions, date, rounds, seconds, comparisons)


def _starter(workload: ModuleWorkload, ours: Service) -> Callable[[Contestant], Ready]:
    def start(each: Contestant) -> Ready:
        if isinstance(each, Ours):
            dataset = ours.push(workload.name, lambda: data(workload))
            return Jobs(each, spec(each, workload, dataset), ours)
        return Running(each, workload.name)

    return start


def show(results: Results) -> None:
    """Print a short table for each comparison to stdout."""
    for comparison in results.comparisons:
        print(f"\n{WORKLOADS[comparison.workload].title}, {comparison.group}")
        print(plain(*speeds(comparison, reference(comparison))))
        if any(each.bursts[0].phases for each in comparison.contestants.values()):
            print("\nms a step by phase")
            print(plain(*phases(comparison)))


def main(words: Sequence[str] | None = None) -> int:
    """Run, write and print the results; return 1 if a contestant failed."""
    options = arguments(words)
    if options.report:
        REPORT.write_text(write(Results.read(STORED), reasons(REASONS, TARGETS)))
        return 0
    try:
        results = run(options)
    except ContestantFailed as failure:
        tell(str(failure))
        return 1
    if options.quick or options.workload or options.group or options.contestant:
        results.write(STORED.with_stem("results-quick"))
    else:
        results.write(STORED)
        REPORT.write_text(write(results, reasons(REASONS, TARGETS)))
    show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
