"""`python -m tests.monitoring.metrics_page` writes docs/reference/metrics.md from the registry."""

from pathlib import Path

from prometheus_client import CollectorRegistry

from batchgrad.contract import FIGURES
from tests.monitoring.busy import busy_registry, quiet_registry

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
_HEAD = """\
# Metrics

The metrics of `GET /metrics`, in Prometheus's text format, or in OpenMetrics if Accept asks for \
it. `python -m tests.monitoring.metrics_page` writes this page from the registry, and a test \
compares them.

- Units are in the names: seconds, bytes, Unix times. Norms and losses have no unit of their own.
- Metrics of a job have the label `job_id`; `batchgrad_job_info` has the job's name. At most 50 \
jobs have series, those that have run longest. A job's series end when it stops running: its \
history is in the API.
- The figures of a step, such as the loss, are gauges of each job (`batchgrad_job_loss`). \
[figures.py](../../clients/batchgrad/contract/figures.py) declares them, and `/docs` of a service \
lists them with their units; they are not in the table.
- An undefined figure has no series: the noise scale while its signal is not positive, a \
shortcut's cosine when a gradient is zero, the accuracy of a \
regression, R² and RMSE of a classification.
- Counters and histograms begin at 0 when the service starts, those of a job when it begins to \
run or continues; `rate` and `increase` take that into account. Label values that are known in \
advance exist from the start, at 0.

The dashboards in `deploy/grafana` and the alerts in `deploy/prometheus` are examples of queries; \
[runbooks.md](../how-to/runbooks.md) says what to do when an alert fires.

"""


def page() -> str:
    """The text of docs/reference/metrics.md."""
    known = _label_values(quiet_registry()[0])
    lines = [_HEAD, "| metric | type | labels | what |\n|---|---|---|---|\n"]
    registry = busy_registry(1)
    labels_of = _label_values(registry)
    figures = {f"batchgrad_job_{figure.metric}" for figure in FIGURES.values()}
    for family in sorted(registry.collect(), key=lambda family: family.name):
        if family.name in figures:
            continue
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(
            _label(label, known[family.name].get(label, [])) for label in labels_of[family.name]
        )
        lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |\n")
    return "".join(lines)


def _label(name: str, values: list[str]) -> str:
    enumerated = len(values) > 1
    return (
        f"`{name}`: {' '.join(value or '(none)' for value in values)}"
        if enumerated
        else f"`{name}`"
    )


def _label_values(registry: CollectorRegistry) -> dict[str, dict[str, list[str]]]:
    """By metric and label, the values that are there, in their order."""
    found: dict[str, dict[str, list[str]]] = {}
    for family in registry.collect():
        labels = found.setdefault(family.name, {})
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "le" and value not in labels.setdefault(label, []):
                    labels[label].append(value)
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
