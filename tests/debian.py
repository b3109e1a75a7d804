"""Install programs that a test suite needs besides Python, from Debian packages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

SKIP_ALOUD = "TEST_BATCHGRAD_SKIP_ALOUD"
"""If set, a suite that cannot run on this machine prints why and succeeds; .ci/run sets it."""

POLICY = Path("/usr/sbin/policy-rc.d")
"""A script that tells Debian's packages by exit status 101 not to start daemons."""


def need(target: str, programs: Mapping[str, str], *more: str, path: str | None = None) -> None:
    """Install the packages of missing programs, and `more` with them.

    `programs` maps each program to its package. Programs are searched in `path`, if given, else in
    PATH. Ends the process like `cannot` if they cannot be installed.
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
    """End the process: this machine cannot run the suite of `make {target}`."""
    aloud = os.environ.get(SKIP_ALOUD)
    rule = "!" * 80
    sys.stderr.write(f"{rule}\nmake {target} CANNOT RUN HERE: {why}\n{rule}\n")
    sys.exit(0 if aloud else 1)


def cannot_run(why: str) -> NoReturn:
    """Skip or fail the current test, like `cannot` but inside pytest."""
    if os.environ.get(SKIP_ALOUD):
        pytest.skip(why)
    pytest.fail(why)


def _apt(target: str, *arguments: str) -> None:
    command = ("apt-get", "--quiet=2", *arguments)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        cannot(target, f"apt-get {arguments[0]}: {done.stderr.strip()}")
