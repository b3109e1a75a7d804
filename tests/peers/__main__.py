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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batchgrad_workers  # noqa: F401  # it chooses the kernels, so it must come before numpy

# isort: split
import numpy as np

from tests.peers.comparison import disagreements
from tests.peers.random_requests import Case, draw

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

    def ask(self, request: dict[str, Any]) -> None:
        """Send a request; the answer to the one before must have been taken."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """PyTorch's results for the request."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("The process with PyTorch ended; its stderr is above.")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Close its stdin, which ends it; an answer that nobody took is dropped."""
        self._process.communicate()


def answered(peer: Peer, first: int) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Cases from the seed `first` on, with PyTorch's answers; the next one is under way."""
    case = draw(first)
    peer.ask(case.request)
    while True:
        answer = peer.answer()
        following = draw(case.seed + 1)
        peer.ask(following.request)
        yield case, answer
        case = following


def main() -> int:
    """Compare cases until the time is over; return 1 if any differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="duration (default: 120)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="run only this case and print it")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    peer, started, failed, skipped = Peer(), time.monotonic(), 0, Counter[str]()
    first, done = options.first if options.seed is None else options.seed, 0
    for case, answer in answered(peer, first):
        done += 1
        if options.seed is not None:
            _print(json.dumps(case.request))
        if "no_formula" in answer:
            skipped[answer["no_formula"]] += 1
        elif not _agree(case, answer):
            failed += 1
        late = time.monotonic() - started > options.seconds
        if options.seed is not None or failed >= MOST_FAILURES or late:
            break
    peer.close()
    for kind, count in skipped.items():
        _print(
            f"{count} networks skipped: add the formula of {kind} to tests/peers/torch_reference.py"
        )
    last = first + done - 1
    _print(f"{done} networks, seeds {first} to {last}: {failed} differ from PyTorch")
    return 1 if failed else 0


def _agree(case: Case, answer: dict[str, Any]) -> bool:
    """Whether our results are PyTorch's; prints what is not."""
    with np.errstate(all="ignore"):
        found = disagreements(case.request, answer)
    if found:
        network = [spec["kind"] for spec in case.request["model"]["layers"]]
        about = f"{case.request['precision']}, {case.request['loss']}, {case.rows} rows"
        _print(f"seed {case.seed}: {network}, {about}\n  " + "\n  ".join(found[:6]))
    return not found


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
