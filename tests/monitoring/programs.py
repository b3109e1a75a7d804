"""Prometheus, its promtool, and Alertmanager: those that are installed, or Debian's, unpacked."""

import os
import shutil
import subprocess
from pathlib import Path

FOLDER_VARIABLE = "BATCHGRAD_MONITORING_PROGRAMS"
"""Names the folder that `find` made; without it tests that need the programs are not collected."""

PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
"""By program, Debian's package."""


class ProgramsMissingError(Exception):
    """A program is not installed and its package cannot be had."""


def find(folder: Path) -> None:
    """Link every program into `folder`/bin.

    Debian's packages are unpacked into `folder`, not installed: so they start no daemon, need no
    root, and are gone with the folder.

    Raises:
        ProgramsMissingError: with what apt-get said.
    """
    found = {name: shutil.which(name) for name in PROGRAMS}
    packages = sorted({PROGRAMS[name] for name, path in found.items() if path is None})
    if packages:
        _unpack(packages, folder)
    (folder / "bin").mkdir()
    for name, path in found.items():
        (folder / "bin" / name).symlink_to(path or folder / "usr/bin" / name)


def program(name: str) -> str:
    """A program's path, in a run of `make test-monitoring`."""
    return str(Path(os.environ[FOLDER_VARIABLE]) / "bin" / name)


def _unpack(packages: list[str], folder: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ProgramsMissingError(f"{packages} are not installed, and this is not Debian.")
    said = _run(folder, "apt-get", "download", *packages)
    if said.returncode and os.geteuid() == 0:  # there may be no list of packages yet
        _run(folder, "apt-get", "update")
        said = _run(folder, "apt-get", "download", *packages)
    if said.returncode:
        raise ProgramsMissingError(f"{packages} are not installed: {said.stderr.strip()}")
    for package in folder.glob("*.deb"):
        _run(folder, "dpkg-deb", "--extract", str(package), str(folder)).check_returncode()


def _run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
