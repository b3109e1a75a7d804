"""Programs that a suite needs besides Python: Debian packages, installed where they are missing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

SKIP_ALOUD = "TEST_BATCHGRAD_SKIP_ALOUD"
"""Set, a suite that cannot run on this machine says so and does not fail; .ci/run sets it."""

POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian's packages ask it whether they may start their daemons; 101 is no."""


def need(target: str, programs: Mapping[str, str], *more: str, path: str | None = None) -> None:
    """See that every program is there; `programs` says the package of each, `more` come with them.

    They are looked for in `path`, if given, else in PATH. Ends the process, as `cannot` does, where
    they can't be had.
    """
    packages = sorted(
        {package for name, package in programs.items() if not shutil.which(name, path=path)}
    )
    if not packages:
        return
    command = f"apt-get install {' '.join([*packages, *more])}"
    if os.geteuid() or not shutil.which("apt-get"):
        cannot(target, f"it needs {', '.join(packages)}: as root on Debian, {command}.")
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n", "utf-8")
        POLICY.chmod(0o755)
    try:
        _apt(target, "update")
        _apt(target, "install", "--yes", "--no-install-recommends", *packages, *more)
    finally:
        if ours:
            POLICY.unlink()


def cannot(target: str, why: str) -> NoReturn:
    """End the process: this machine can't run the suite of `make {target}`."""
    aloud = os.environ.get(SKIP_ALOUD)
    rule = "!" * 80
    sys.stderr.write(f"{rule}\nmake {target} CANNOT RUN HERE: {why}\n{rule}\n")
    sys.exit(0 if aloud else 1)


def cannot_run(why: str) -> NoReturn:
    """The same inside pytest, for what is found out there: its tests are skipped, or fail."""
    if os.environ.get(SKIP_ALOUD):
        pytest.skip(why)
    pytest.fail(why)


def _apt(target: str, *arguments: str) -> None:
    command = ("apt-get", "--quiet=2", *arguments)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if said.returncode:
        cannot(target, f"apt-get {arguments[0]}: {said.stderr.strip()}")
