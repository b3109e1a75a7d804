"""`python -m tests.peers`: our engine against PyTorch in float64, on random networks.

Needs .venv-peers (`make test-peers` makes it). A seed stands for a case: what fails is printed
with its seed, and `--seed N` runs it alone.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import batchgrad_workers  # noqa: F401  # it chooses the kernels, so it must come before numpy

# isort: split
import numpy as np

from tests.peers.comparison import disagreements
from tests.peers.random_requests import draw

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
MOST_FAILURES = 10


class Peer:
    """The process that runs PyTorch."""

    def __init__(self) -> None:
        if not PYTHON.exists():
            sys.exit(f"{PYTHON} does not exist: run `make test-peers`, which installs PyTorch.")
        self._process = subprocess.Popen(
            [str(PYTHON), "-W", "ignore", "-m", "tests.peers.torch_reference"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """PyTorch's results for a request."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            sys.exit("The process with PyTorch ended; its stderr is above.")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Close its stdin, which ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> int:
    """Compare cases until the time is over; return 1 if any differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="duration (default: 120)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="run only this case and print it")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    peer, started, failed, skipped = Peer(), time.monotonic(), 0, Counter[str]()
    seed = first = options.first if options.seed is None else options.seed
    while options.seed is not None or time.monotonic() - started < options.seconds:
        case = draw(seed)
        if options.seed is not None:
            _print(json.dumps(case.request))
        answer = peer.answer(case.request)
        seed += 1
        if "no_formula" in answer:
            skipped[answer["no_formula"]] += 1
            continue
        with np.errstate(all="ignore"):
            found = disagreements(case.request, answer)
        if found:
            failed += 1
            network = [spec["kind"] for spec in case.request["model"]["layers"]]
            about = f"{case.request['precision']}, {case.request['loss']}, {case.rows} rows"
            _print(f"seed {case.seed}: {network}, {about}\n  " + "\n  ".join(found[:6]))
        if options.seed is not None or failed >= MOST_FAILURES:
            break
    peer.close()
    for kind, count in skipped.items():
        _print(
            f"{count} networks skipped: add the formula of {kind} to tests/peers/torch_reference.py"
        )
    _print(f"{seed - first} networks, seeds {first} to {seed - 1}: {failed} differ from PyTorch")
    return 1 if failed else 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
