"""One declaration shows a figure everywhere: the test adds one to a copy of the tree."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("clients", "workers", "service")
DECLARATION = """
    norm_spread: float | None = declare(
        Figure(
            "Largest norm of an example's gradient",
            lambda step: step.norms.max() / step.gradient_norm,
            unit="mean gradients",
        )
    )
"""
AFTER_THE_LAST = "\n\n\nFIGURES:"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Texts of the changed tree, by place."""
    folder = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    file = folder / "clients/batchgrad/contract/figures.py"
    before = file.read_text("utf-8")
    assert before.count(AFTER_THE_LAST) == 1
    file.write_text(
        before.replace(AFTER_THE_LAST, f"{DECLARATION.rstrip()}{AFTER_THE_LAST}"), "utf-8"
    )
    path = os.pathsep.join(str(folder / package) for package in PACKAGES)
    (folder / "data").mkdir()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "figure_everywhere.py"), folder / "data"],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        cwd=folder,
    )
    shutil.rmtree(folder)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_rows_job_and_events_have_the_figure(shown: dict[str, str]) -> None:
    job = json.loads(shown["job"])
    rows = json.loads(shown["rows"])["data"]
    for row in rows:
        expected = row["norms"]["largest"][0]["norm"] / row["gradient_norm"]
        assert row["norm_spread"] == pytest.approx(expected, rel=1e-6)
    assert job["norm_spread"] == rows[-1]["norm_spread"]
    events = json.loads(shown["progress"])["data"]
    assert events[-1]["data"]["norm_spread"] == job["norm_spread"]


def test_descriptions_have_its_unit_and_help(shown: dict[str, str]) -> None:
    schemas = json.loads(shown["description"])["components"]["schemas"]
    for schema in ("StepRow", "Job"):
        described = schemas[schema]["properties"]["norm_spread"]
        assert described["x-unit"] == "mean gradients"
        assert described["description"].startswith("Largest norm of an example's gradient.")
    assert "batchgrad_job_norm_spread" in shown["docs"]
    assert re.search(r"norm spread +Largest norm of an example's gradient", shown["help"])


def test_prometheus_metrics_have_the_figure(shown: dict[str, str]) -> None:
    assert "# HELP batchgrad_job_norm_spread Largest norm" in shown["metrics"]
    [value] = re.findall(r"^batchgrad_job_norm_spread\{.*\} (.+)$", shown["metrics"], re.MULTILINE)
    assert float(value) > 1


def test_the_page_shows_its_value_and_chart(shown: dict[str, str]) -> None:
    value = f"{json.loads(shown['job'])['norm_spread']:.4g}"
    assert f"<dt>Norm spread</dt><dd>{value} mean gradients</dd>" in shown["page"]
    assert re.search(r'id="norm_spread"[^>]* data-figure="norm spread"', shown["page"])


def test_the_command_line_prints_it(shown: dict[str, str]) -> None:
    value = f"{json.loads(shown['job'])['norm_spread']:.4g}"
    assert re.search(rf"^norm spread +{value} mean gradients$", shown["get"], re.MULTILINE)
    heading, _, last = shown["steps"].splitlines()
    place = re.split("  +", heading.strip()).index("norm spread")
    assert last.split()[place] == value
