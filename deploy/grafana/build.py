"""`python -m deploy.grafana.build` writes the dashboards beside it; a test compares."""

import json
from pathlib import Path

from deploy.grafana.cluster import CLUSTER
from deploy.grafana.job import A_JOB
from deploy.grafana.overview import OVERVIEW

FOLDER = Path(__file__).parent / "dashboards"
DASHBOARDS = {"overview": OVERVIEW, "job": A_JOB, "cluster": CLUSTER}


def files() -> dict[str, str]:
    """Contents of the dashboard files by file name."""
    return {
        f"{name}.json": json.dumps(dashboard.json(), indent=2, sort_keys=True) + "\n"
        for name, dashboard in DASHBOARDS.items()
    }


if __name__ == "__main__":
    for file, text in files().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
