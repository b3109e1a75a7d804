"""An engine that trains nothing and does what its job's labels say; the protocol is the real one.

Labels (all optional): steps, checkpoint_every, hold_at (report that step, then wait for a command
or the end of stdin), hang_at (the same, but ignore commands), crash_at (SIGKILL to itself),
crash_attempts (crash only in the first attempts), full_at (report a full disk in the first
attempt), fail_at, garbage_at, linger (do not exit after the last message), child (leave a process
in the group that holds stdout), no_ledger (write none), wants_cluster (request one for this number
of workers, and write the answer to a file).
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

DIGEST = "sha256:" + "0" * 64
NOW = datetime.now(UTC).isoformat()
start: dict[str, Any] = json.loads(sys.stdin.readline())
labels: dict[str, str] = start["spec"]["labels"]
folder = Path(start["job_directory"])
commanded = threading.Event()
outcomes: list[str] = []


def label(name: str, default: int) -> int:
    return int(labels.get(name, default))


def write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def send(kind: str, **fields: Any) -> None:
    write_line(json.dumps({"type": kind, **fields}))


def finish(outcome: str, step: int, reason: str | None = None, detail: str | None = None) -> None:
    send("finished", outcome=outcome, step=step, reason=reason, detail=detail)
    if "linger" in labels:
        time.sleep(600)
    sys.exit(0)


def read_commands() -> None:
    for line in sys.stdin:
        if "address" in json.loads(line):
            (folder / "cluster").write_text(line)
            commanded.set()
            continue
        if "stored" in json.loads(line):
            continue
        if json.loads(line)["command"] == "ledger":
            if "no_ledger" in labels:
                continue
            (folder / "ledger.safetensors").write_text("the ledger")
            send("ledger_written", step=0)
            continue
        outcomes.append({"pause": "paused", "cancel": "cancelled"}[json.loads(line)["command"]])
        commanded.set()
    outcomes.append("interrupted")
    commanded.set()


def row(step: int) -> dict[str, Any]:
    """One step by columns."""
    return {
        "step": [step],
        "epoch": 0,
        "time": NOW,
        "loss": 1.0 / step,
        "learning_rate": 0.1,
        "gradient_norm": 1.0,
        "noise_scale": None,
        "norms": {"quantiles": {}, "largest": []},
        "shortcuts": {},
        "phases": {},
        "workers": 0,
    }


def report(step: int) -> None:
    send(
        "report",
        workers=0,
        threads=1,
        executor="inline",
        examples_per_second=1.0,
        steps=[row(step)],
        observed={"examples": 4},
    )


def checkpoint(step: int) -> None:
    file = f"step-{step:06d}.safetensors"
    (folder / file).write_text(str(step))
    send(
        "checkpointed",
        step=step,
        time=NOW,
        file=file,
        bytes=1,
        digest=DIGEST,
        parameters_digest=DIGEST,
    )


def ask_for_cluster() -> None:
    if workers := label("wants_cluster", 0):
        send("cluster_wanted", workers=workers)
        commanded.wait()


def crash() -> NoReturn:
    sys.stderr.write("about to crash\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fail_as_labelled(step: int) -> None:
    may_crash = start["attempt"] <= label("crash_attempts", 99)
    if label("crash_at", 0) == step and may_crash:
        crash()
    if label("fail_at", 0) == step:
        finish("failed", step, "nonfinite", "The loss is inf.")
    if label("full_at", 0) == step and start["attempt"] == 1:
        finish("interrupted", step, "disk_full", "The disk is full.")
    if label("garbage_at", 0) == step:
        write_line("hello")


def main() -> None:
    lock = (folder / "engine.lock").open("a+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    holder = {"pid": os.getpid(), "pgid": os.getpgid(0), "attempt": start["attempt"]}
    (folder / "engine.lock").write_text(json.dumps(holder))
    (folder / f"start-{start['attempt']}.json").write_text(json.dumps(start))
    if "child" in labels:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child").write_text(str(child.pid))
    threading.Thread(target=read_commands, daemon=True).start()
    steps, every = label("steps", 5), label("checkpoint_every", 1)
    if start["lengthened_step"] is not None:
        steps = start["spec"]["steps"]
    kept = sorted(folder.glob("step-*.safetensors"))
    resumed = int(kept[-1].read_text()) if kept else None
    send(
        "started",
        executor="inline",
        workers=0,
        threads=1,
        step=resumed or 0,
        steps_planned=steps,
        resumed_from=resumed,
    )
    ask_for_cluster()
    for step in range((resumed or 0) + 1, steps + 1):
        fail_as_labelled(step)
        report(step)
        if every and step % every == 0:
            checkpoint(step)
        if label("hang_at", 0) == step:
            time.sleep(600)
        if label("hold_at", 0) == step:
            commanded.wait()
        if outcomes:
            finish(outcomes[0], step)
    finish("succeeded", steps)


main()
