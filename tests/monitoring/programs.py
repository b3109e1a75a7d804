"""Prometheus, its promtool, and Alertmanager, of Debian's packages where they are missing."""

import os
import shutil
import subprocess
from pathlib import Path

ASKED_FOR = "BATCHGRAD_TEST_MONITORING"
"""In the environment of `make test-monitoring`; without it tests with a Prometheus wait."""

PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
"""By program, Debian's package."""

POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian's packages ask it whether they may start their daemons; 101 is no."""


class ProgramsMissingError(Exception):
    """A program is not installed and cannot be."""


def install_missing() -> None:
    """Install what is missing, without starting it.

    To unpack the packages is not enough: Alertmanager wants its templates in /usr/share.

    Raises:
        ProgramsMissingError: with what apt-get said.
    """
    packages = sorted({package for name, package in PROGRAMS.items() if not shutil.which(name)})
    if not packages:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ProgramsMissingError(
            f"{' and '.join(packages)} are missing; as root on Debian they would be installed."
        )
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n", "utf-8")
        POLICY.chmod(0o755)
    try:
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *packages)
    finally:
        if ours:
            POLICY.unlink()


def program(name: str) -> str:
    """A program's path; raises ProgramsMissingError."""
    path = shutil.which(name)
    if path is None:
        raise ProgramsMissingError(f"{name} is not installed.")
    return path


def _apt(*arguments: str) -> None:
    command = ("apt-get", "--quiet=2", *arguments)
    said = subprocess.run(
        command,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        raise ProgramsMissingError(f"apt-get {arguments[0]}: {said.stderr.strip()}")
