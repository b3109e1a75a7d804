"""The tables of docs/explanation/scale.md, made from the measurements."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.scaling.fitting import Checked, check, elsewhere, fit
from benchmarks.scaling.measured import Measurements
from benchmarks.scaling.model import Costs, Step
from benchmarks.scaling.predictions import (
    GIGABITS,
    PARAMETERS,
    best,
    examples_for_half,
    step_on,
)

COUNTED = (2, 4, 8, 16, 32, 64)
P_COUNTED = 10**7
MANY = (64, 512, 4096)
PLENTY = 2**15
"""Examples of each of many nodes."""
UNITS = {
    "microbatch": ("a microbatch, one thread", 1e6, "µs"),
    "microbatch_parameter": ("… and each parameter", 1e9, "ns"),
    "example_parameter": ("an example and parameter", 1e12, "ps"),
    "contention": ("a further thread slows each by", 100, "%"),
    "rest": ("division, comparison, update, report", 1e6, "µs"),
    "rest_parameter": ("… and each parameter", 1e9, "ns"),
    "rest_example": ("… and each example", 1e9, "ns"),
    "add_byte": ("joining two sums, a byte", 1e9, "ns"),
    "link_share": ("the arrays' share of a link's bits", 100, "%"),
    "overlap": ("θ out and sums in overlap by", 100, "% of the possible"),
    "call": ("calls to other nodes, a step", 1e3, "ms"),
    "call_worker": ("… and each worker there", 1e3, "ms"),
    "objects": ("θ and sums above 100 kB, a step", 1e3, "ms"),
    "objects_worker": ("… and each worker there", 1e3, "ms"),
    "ray_byte": ("a byte through Ray", 1e9, "ns"),
}


def checks(found: Measurements) -> str:
    """Measured and predicted times of the cases that the model was not fitted to."""
    heads = (
        "hosts",
        "link, Mbit/s",
        "P",
        "N",
        "B",
        "threads",
        "measured, ms",
        "model, ms",
        "ratio",
        "other CPUs",
    )
    return _table(heads, map(_checked, check(found, fit(found))))


def costs(found: Measurements) -> str:
    """The costs on the measured machine and on separate machines."""
    here, there = asdict(fit(found)), asdict(elsewhere(found))
    return _table(
        ("cost of", "hosts that share two cores", "separate machines"),
        (
            (text, *(f"{where[name] * factor:.3g} {unit}" for where in (here, there)))
            for name, (text, factor, unit) in UNITS.items()
        ),
    )


def fastest(found: Measurements) -> str:
    """The best number of nodes for N = 65,536."""
    there = elsewhere(found)
    heads = ["P"]
    heads += [f"{g} Gbit/s{more}" for g in GIGABITS for more in ("", ", siblings")]
    return _table(heads, ((_power(p), *_fastest(there, p)) for p in PARAMETERS))


def examples(found: Measurements) -> str:
    """The smallest N for a parallel efficiency of one half."""
    there = elsewhere(found)
    heads = ["nodes"]
    heads += [f"{g} Gbit/s{more}" for g in GIGABITS for more in ("", ", siblings")]
    rows = []
    for nodes in COUNTED:
        row = [str(nodes)]
        for gigabits in GIGABITS:
            for siblings in (False, True):
                size = examples_for_half(there, P_COUNTED, nodes, gigabits, siblings=siblings)
                row.append(f"{size:,}" if size else "never")
        rows.append(row)
    return _table(heads, rows)


def large(found: Measurements) -> str:
    """Seconds a step on many nodes, as built and as it could be; N grows with the nodes."""
    there = elsewhere(found)
    ways: dict[str, dict[str, Any]] = {
        "": {},
        ", siblings": {"siblings": True},
        ", siblings, bfloat16": {"siblings": True, "sum_number_bytes": 2},
    }
    heads = ["P", "nodes", *(f"{g} Gbit/s{way}" for g in GIGABITS for way in ways)]
    rows = []
    for parameters in (10**6, 10**7, 10**8):
        for nodes in MANY:
            steps = (
                step_on(there, parameters, PLENTY * nodes, nodes, gigabits, **way)
                for gigabits in GIGABITS
                for way in ways.values()
            )
            rows.append([_power(parameters), str(nodes), *map(_seconds, steps)])
    return _table(heads, rows)


def parts(step: Step) -> str:
    """The parts of one step, one line each."""
    own = {name: f"{seconds * 1e3:12.3f} ms  {name}" for name, seconds in step._asdict().items()}
    return "\n".join([*own.values(), f"{step.seconds * 1e3:12.3f} ms  a step"])


def _checked(each: Checked) -> tuple[str, ...]:
    case = each.case
    return (
        f"{case.hosts or 'inline'}{', siblings' if case.siblings else ''}",
        str(case.megabits or "free"),
        f"{case.parameters:,}",
        str(case.batch_size),
        str(case.microbatch_size),
        str(case.threads),
        f"{each.measured * 1e3:.1f}",
        f"{each.predicted * 1e3:.1f}",
        f"{each.ratio:.2f}",
        f"{max(0, each.other_cpus):.1f}",
    )


def _fastest(there: Costs, parameters: int) -> list[str]:
    cells = []
    for gigabits in GIGABITS:
        for siblings in (False, True):
            found = best(there, parameters, gigabits, siblings=siblings)
            cells.append(f"{found.nodes} ({found.speed_up:.1f}×)")
    return cells


def _seconds(step: Step) -> str:
    return f"{step.seconds:,.0f}" if step.seconds >= 10 else f"{step.seconds:.2g}"


def _power(number: int) -> str:
    return f"10^{len(str(number)) - 1}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
