"""Charges of a private job: which steps it may have taken, by build, on disk ahead of them.

A step that runs again with the same build has the same minibatch and noise, and spends nothing
more. With another build it is charged again. Lines are appended and synced before the steps of a
block run, so that no crash loses one.
"""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from batchgrad_workers.system.durability import sync

Span = tuple[int, int]
"""Steps [first, stop)."""

FILE = "charges.jsonl"
EVALUATIONS = "charged-evaluations.jsonl"
BLOCKS = 64
"""Least number of blocks that a job's steps are charged in, unless blocks would be short."""
LEAST_BLOCK, MOST_BLOCK = 64, 4096
"""Steps in a block."""


def build_digest(build: Mapping[str, str]) -> str:
    """A short name of a build."""
    return sha256(json.dumps(sorted(build.items())).encode()).hexdigest()[:16]


class UnreadableChargesError(ValueError):
    """A file of charges is damaged."""


def charged(job_directory: Path) -> int:
    """The charges of a job: distinct pairs of step and build.

    Raises:
        UnreadableChargesError: the file is damaged.
    """
    return sum(_size(spans) for spans in _read(job_directory / FILE).values())


class Charges:
    """The charges of a job, to which an attempt of one build adds."""

    def __init__(
        self,
        job_directory: Path,
        build: Mapping[str, str],
        steps_planned: int,
        *,
        file: str = FILE,
        block: int | None = None,
    ) -> None:
        """Charge `block` steps at a time; by default as many as make syncing cheap."""
        self._path = job_directory / file
        self._build = build_digest(build)
        self._steps_planned = steps_planned
        self._block = block or min(max(LEAST_BLOCK, steps_planned // BLOCKS), MOST_BLOCK)
        _remove_torn_line(self._path)
        known = _read(self._path)
        self._earlier = known.pop(self._build, [])
        self._new: list[Span] = []
        self._others = sum(_size(spans) for spans in known.values())
        self._of_others = [span for spans in known.values() for span in spans]

    def add(self, step: int) -> None:
        """Charge a step, and on disk those that follow it."""
        if not any(first <= step < stop for first, stop in (*self._earlier, *self._new)):
            stop = min(step + self._block, self._steps_planned)
            self._append({"build": self._build, "first": step, "stop": stop})
            self._new.append((step, stop))

    def total_with(self, step: int) -> int:
        """The charges once this step has run, without those of later steps that none has run."""
        run = [(first, min(stop, step)) for first, stop in self._new if first < step]
        return self._others + _size(_joined([*self._earlier, *run, (step, step + 1)]))

    def covers(self, steps: int) -> bool:
        """Whether the first `steps` steps are charged, each with some build."""
        joined = _joined([*self._earlier, *self._new, *self._of_others])
        return steps <= 0 or any(first <= 0 and steps <= stop for first, stop in joined)

    def any(self) -> bool:
        """Whether anything is charged."""
        return bool(self._earlier or self._new or self._of_others)

    def end(self, step: int) -> None:
        """Take back what this attempt has charged of steps from `step` on, which did not run."""
        for first, stop in self._new:
            if stop > step:
                unrun = max(first, step)
                self._append({"build": self._build, "first": unrun, "stop": stop, "unrun": True})
        self._earlier = _joined(
            [*self._earlier, *((f, min(s, step)) for f, s in self._new if f < step)]
        )
        self._new = []

    def _append(self, line: dict[str, Any]) -> None:
        new = not self._path.exists()
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync(self._path.parent)


def _read(path: Path) -> dict[str, list[Span]]:
    """Charged steps by build; a line that was being written when the machine stopped is none."""
    found: dict[str, list[Span]] = {}
    if not path.exists():
        return found
    *lines, _ = path.read_bytes().split(b"\n")
    try:
        for line in map(json.loads, lines):
            spans, own = found.get(line["build"], []), (int(line["first"]), int(line["stop"]))
            unrun = line.get("unrun", False)
            found[line["build"]] = _without(spans, own) if unrun else _joined([*spans, own])
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableChargesError(f"{path} is damaged: {error}") from error
    return found


def _remove_torn_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _size(spans: list[Span]) -> int:
    return sum(stop - first for first, stop in spans)


def _without(spans: list[Span], removed: Span) -> list[Span]:
    parts = [
        part
        for first, stop in spans
        for part in ((first, min(stop, removed[0])), (max(first, removed[1]), stop))
    ]
    return [(first, stop) for first, stop in parts if first < stop]


def _joined(spans: list[Span]) -> list[Span]:
    """Ascending spans without overlap."""
    found: list[Span] = []
    for first, stop in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((first, stop))
    return found
