"""Prometheus, its promtool, Alertmanager, and npm for Grafana's types."""

import shutil

ASKED_FOR = "TEST_BATCHGRAD_MONITORING"
"""In the environment of `make test-monitoring`; without it tests with a Prometheus wait."""

PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "npm": "npm",
    "node": "nodejs",
}
"""By program, Debian's package."""


def program(name: str) -> str:
    """A program's path.

    Raises:
        FileNotFoundError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not installed.")
    return path
