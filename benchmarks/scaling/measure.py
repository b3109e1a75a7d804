"""Measure the steps and links that the model needs, on hosts that are namespaces of this machine.

`python -m benchmarks.scale --measure` runs this module; the hosts are those of tests/cluster.
"""

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad.contract import TERMINAL
from batchgrad_workers.runtime.threads import single_threaded_blas
from benchmarks import machine
from benchmarks.scaling.links import SECONDS_SENT, send, shaped
from benchmarks.scaling.measured import CASES, Case, Measurements, Timed
from benchmarks.workloads import LEARNING_RATE, MOMENTUM, data
from tests.cluster.cluster import Cluster, until
from tests.cluster.hosts import Host

WARM_STEPS, LEAST_STEPS = 4, 8
BURST_SECONDS = 2.5
PATIENCE_SECONDS = 120.0
RUNS = 8
CALM_CPUS = 0.2
ADDED_BYTES, ADDED_TIMES = 2**26, 15


def main() -> None:
    """Write measurements to the file argv[1]; with --again, repeat the disturbed cases only."""
    path, again = Path(sys.argv[1]), "--again" in sys.argv[2:]
    single_threaded_blas()
    before = Measurements.read(path) if again else None
    kept = {each.case: each for each in before.timed} if before else {}
    about = before.machine if before else machine.describe()
    add_seconds = before.add_seconds_per_byte if before else add_seconds_per_byte()
    sent = before.sent if before else []
    cluster = Cluster()
    try:
        cluster.join(cluster.add_host())
        cluster.serve()
        cluster.client.put_arrays("random", *data(CASES[0].workload))
        among_siblings = False
        for setup in sorted(dict.fromkeys(map(_setup, CASES)), key=lambda setup: setup[:2]):
            siblings, hosts, megabits = setup
            while hosts > len(cluster.hosts):
                cluster.join(cluster.add_host())
            if siblings and not among_siblings:
                cluster.serve_again("BATCHGRAD_SIBLINGS_FROM_NODES=2")
                among_siblings = True
            wanted = [case for case in CASES if _setup(case) == setup]
            with shaped(cluster.hosts, megabits):
                if hosts == 2 and not before:
                    sent += [send(cluster, megabits, seconds) for seconds in SECONDS_SENT]
                for case in wanted:
                    if case not in kept or not calm(kept[case]):
                        both = [timed(cluster, case), *filter(None, [kept.get(case)])]
                        kept[case] = min(both, key=lambda each: each.other_cpus)
                        print(both[0], flush=True)
    finally:
        cluster.end()
    date = datetime.now(UTC).date().isoformat()
    found = [kept[case] for case in CASES]
    Measurements(about, machine.versions(), date, add_seconds, sent, found).write(path)
    if disturbed := sum(not calm(each) for each in found):
        print(f"{disturbed} cases were disturbed by other work: --measure --again", flush=True)


def _setup(case: Case) -> tuple[bool, int, int | None]:
    """Whether siblings exchange arrays, the number of hosts, and the limit of their links."""
    return case.siblings, max(1, case.hosts), case.megabits


def calm(timed: Timed) -> bool:
    """Whether other processes hardly used the machine."""
    return timed.other_cpus < CALM_CPUS


def timed(cluster: Cluster, case: Case) -> Timed:
    """Time a job. Raises RuntimeError if it ends early or its workers are on unexpected hosts."""
    client = cluster.client
    job_id = client.submit(spec(case)).id

    def step() -> int:
        job = client.job(job_id)
        if job.status in TERMINAL:
            raise RuntimeError(f"{case}: the job has {job.status}: {job.detail}")
        return job.step

    until(lambda: step() >= WARM_STEPS, PATIENCE_SECONDS, f"{case}: no steps")
    start, busy = time.perf_counter(), busy_seconds()
    before = [cpu_seconds(host) for host in cluster.hosts]
    time.sleep(BURST_SECONDS)
    until(lambda: step() >= WARM_STEPS + LEAST_STEPS, PATIENCE_SECONDS, f"{case}: too few steps")
    used = [cpu_seconds(host) - was for host, was in zip(cluster.hosts, before, strict=True)]
    took, busy = time.perf_counter() - start, busy_seconds() - busy
    client.cancel(job_id)
    *_, last = client.watch(job_id, timeout=PATIENCE_SECONDS)
    if last.status != "cancelled":
        raise RuntimeError(f"{case}: the job has {last.status}: {last.detail}")
    events = client.events(job_id, progress=True)
    where = [event.data["host"] for event in events if event.type == "worker_joined"]
    wanted = [host.name for host in cluster.hosts[: case.hosts]] * case.workers
    if sorted(where) != sorted(wanted):
        raise RuntimeError(f"{case}: the workers were on {where}, not on {wanted}.")
    rows = [row for row in client.steps(job_id) if row.step >= WARM_STEPS]
    times = [row.time.timestamp() for row in rows]
    seconds = typical([after - before for before, after in pairwise(times)])
    phases = {name: typical([row.phases[name] for row in rows[1:]]) for name in rows[-1].phases}
    client.delete(job_id)
    own = [cpu / took * seconds for cpu in used]
    return Timed(case, len(rows) - 1, seconds, phases, own, (busy - sum(used)) / took)


def typical(seconds: Sequence[float]) -> float:
    """The median of the means of eight runs of steps, which ignores a few disturbed runs."""
    runs = np.array_split(np.asarray(seconds), min(RUNS, len(seconds)))
    return float(np.median([run.mean() for run in runs]))


def busy_seconds() -> float:
    """CPU seconds that all processes of this machine have used so far."""
    user, nice, system = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(host: Host) -> float:
    """CPU seconds that the living processes of a host have used so far."""
    lines = host.run("sh", "-c", "cat /proc/[0-9]*/stat").splitlines()
    ticks = (line.rpartition(")")[2].split()[11:13] for line in lines)  # utime and stime
    return sum(int(user) + int(system) for user, system in ticks) / os.sysconf("SC_CLK_TCK")


def spec(case: Case) -> dict[str, Any]:
    """The job of a case: the defaults of a user, except for its workers and threads."""
    workers = case.hosts * case.workers
    return {
        "name": f"scale-{case.width}",
        "dataset": "random",
        "model": {"layers": list(case.workload.layers)},
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": LEARNING_RATE, "momentum": MOMENTUM},
        "batch_size": case.batch_size,
        "microbatch_size": case.microbatch_size,
        "steps": 10**7,  # it is cancelled long before
        "checkpoint_interval_seconds": 3600,
        "workers": {"min": workers, "max": workers} if workers else 0,
        "threads": case.threads,
    }


def add_seconds_per_byte() -> float:
    """Fastest of many a += b (how sums are joined), in seconds per byte of a."""
    left, right = (np.ones(ADDED_BYTES // 4, np.float32) for _ in range(2))

    def once() -> float:
        start = time.perf_counter()
        left.__iadd__(right)
        return time.perf_counter() - start

    return min(once() for _ in range(ADDED_TIMES)) / ADDED_BYTES


if __name__ == "__main__":
    os.umask(0o077)
    main()
