"""Prometheus, its promtool, Alertmanager, and npm for Grafana's types."""

import shutil

ENABLED = "TEST_BATCHGRAD_MONITORING"
"""Environment variable of `make test-monitoring`; without it, tests with Prometheus do not run."""

PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "npm": "npm",
    "node": "nodejs",
}
"""Debian's package of each program."""


def program(name: str) -> str:
    """Path of a program.

    Raises:
        FileNotFoundError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not installed.")
    return path
