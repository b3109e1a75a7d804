"""Paths of the deployment files, and versions in the image."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
_PINS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
CONSTRAINTS = dict(line.split("==") for line in _PINS if "==" in line)
