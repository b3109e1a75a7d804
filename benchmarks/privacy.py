"""`python -m benchmarks.privacy`: whole private steps beside Opacus; writes PRIVACY.md."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.contestants import EVERYWHERE, Program
from benchmarks.modules.contestants import KEPT, PASSIVE
from benchmarks.peers import ContestantFailed, Running
from benchmarks.report import described, outcome_table
from benchmarks.results import Comparison, Measured, Results
from benchmarks.rounds import take_turns
from benchmarks.tables import markdown, plain, speeds
from benchmarks.targets import Target, outcomes
from benchmarks.workloads import WORKLOADS

REPORT = Path(__file__).parent / "PRIVACY.md"
THREADS = (1, 2)
TEXT = """\
Written by `python -m benchmarks.privacy`, after `make peers`; [README.md](README.md) explains how \
to read it.

A step samples or gathers a minibatch, clips each example's gradient, adds noise to the sum, and \
updates by SGD with momentum. batchgrad is its engine: Poisson sampling of N rows on average, \
norms that are upper bounds, exact discrete noise, charges on disk, and the row of the step; the \
service that stores rows is a process of its own. Opacus takes minibatches of exactly N rows, \
ghost clipping or gradients of single examples by hooks, noise in floating point, and no \
accounting. On one thread CPU time is measured, to which other processes of a busy machine add \
little; on two threads, time."""
REASONS: dict[str, str] = {}
"""Why a target is missed, by its key."""


def contestants(threads: int) -> list[Program]:
    """The engine of batchgrad, and Opacus in two ways, on so many threads."""
    environment = KEPT if threads == 1 else {**KEPT, **PASSIVE}
    theirs = [
        Program(name, title, "opacus_private", threads, name.split("-")[1], environment=environment)
        for name, title in (
            ("opacus-ghost", "Opacus, ghost clipping"),
            ("opacus-hooks", "Opacus, hooks"),
        )
    ]
    return [Program("ours", "batchgrad's engine", "own_private", threads, venv="own"), *theirs]


TARGETS = tuple(
    Target(
        f"{name}-{threads}",
        f"{name}, {threads} thread{'s' * (threads > 1)}: {wanted:g}× Opacus's ghost clipping",
        name,
        "ours",
        ("opacus-ghost",),
        wanted,
        group=f"threads-{threads}",
    )
    for threads in THREADS
    for name, wanted in (("tiny", 1.0), ("medium", 1.0), ("wide", 1.5), ("convnet", 1.5))
)


def compare(
    workload: str, threads: int, rounds: int, seconds: float
) -> tuple[Comparison, dict[str, str]]:
    """Run the contestants alternately; return the comparison and the libraries' versions."""
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        running: dict[str, Running] = {}
        for each in contestants(threads):
            running[each.name] = Running(each, workload)
            stack.callback(running[each.name].close)
            versions |= running[each.name].prepare()
        bursts = take_turns(dict(running), rounds, seconds, tell)
        measured = {
            each.name: Measured(each.title, bursts[each.name], running[each.name].peak_bytes())
            for each in contestants(threads)
        }
    size = WORKLOADS[workload].batch_size
    return Comparison(workload, f"threads-{threads}", size, measured), versions


def write(results: Results) -> str:
    """The text of PRIVACY.md."""
    parts = ["# Private steps beside Opacus", TEXT, described(results)]
    parts += ["## Targets", outcome_table(outcomes(results, TARGETS), REASONS)]
    for comparison in results.comparisons:
        threads = comparison.group.removeprefix("threads-")
        parts.append(f"## {WORKLOADS[comparison.workload].title}; threads: {threads}")
        parts.append(markdown(*speeds(comparison, "ours")))
    return "\n\n".join(parts) + "\n"


def tell(line: str) -> None:
    """Print a progress line to stderr."""
    print(line, file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run, and write PRIVACY.md if everything ran; return 1 if a contestant failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy", description=__doc__)
    parser.add_argument("--workload", action="append", choices=EVERYWHERE)
    parser.add_argument("--threads", action="append", type=int, choices=THREADS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args(words)
    described_machine, versions = machine.describe(), machine.versions()
    comparisons: list[Comparison] = []
    try:
        for workload in options.workload or EVERYWHERE:
            for threads in options.threads or THREADS:
                found, theirs = compare(workload, threads, options.rounds, options.seconds)
                comparisons.append(found)
                versions |= theirs
    except ContestantFailed as failure:
        tell(str(failure))
        return 1
    date = datetime.now(UTC).date().isoformat()
    results = Results(
        described_machine, versions, date, options.rounds, options.seconds, comparisons
    )
    if options.workload or options.threads:
        for comparison in comparisons:
            print(plain(*speeds(comparison, "ours")))
    else:
        REPORT.write_text(write(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
