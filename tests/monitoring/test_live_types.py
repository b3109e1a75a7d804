"""Check the dashboards against the types of the Grafana version in docker-compose.yml."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.build import DASHBOARDS
from tests.debian import cannot_run
from tests.monitoring.programs import program

ROOT = Path(__file__).parents[2]
TYPESCRIPT = "typescript@5.8.3"  # what @grafana/schema is made with
PANEL_TYPES = {
    "timeseries": "TimeSeries",
    "stat": "Stat",
    "bargauge": "BarGauge",
    "heatmap": "Heatmap",
}
HEAD = """\
import type { DataQuery, Dashboard } from "@grafana/schema";

// JSON has no enums: their values stand for them.
type Plain<T> = unknown extends T ? T
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer Each> ? Array<Plain<Each>>
  : { [Key in keyof T]: Plain<T[Key]> };

// What the Prometheus data source adds; @grafana/schema has no types of it.
interface Query extends DataQuery {
  editorMode: "code" | "builder";
  expr: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  legendFormat: string;
  range: boolean;
}
"""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with TypeScript and Grafana's types."""
    folder = tmp_path_factory.mktemp("schema")
    images = (ROOT / "docker-compose.yml").read_text("utf-8")
    version = re.search(r"grafana/grafana:([0-9.]+)", images)
    assert version, "docker-compose.yml names no version of Grafana"
    wanted = (f"@grafana/schema@{version[1]}", TYPESCRIPT)
    flags = ("--no-audit", "--no-fund", "--ignore-scripts", "--cache", str(folder / "cache"))
    done = subprocess.run(
        (program("npm"), "install", *flags, *wanted),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        cannot_run(f"Dashboards are not type-checked: npm install {wanted}: {done.stderr[-500:]}")
    return folder


def check(schema: Path, dashboards: list[dict[str, Any]]) -> "subprocess.CompletedProcess[str]":
    """Run tsc --strict on the dashboards; each panel's options are checked by the panel's kind."""
    lines = [HEAD]
    for kind, name in PANEL_TYPES.items():
        file = f"dist/types/raw/composable/{kind}/panelcfg/x/{name}PanelCfg_types.gen"
        lines.append(f'import type * as {kind} from "./node_modules/@grafana/schema/{file}";')
    count = 0
    for dashboard in dashboards:
        values = [("Dashboard", dashboard)]
        for panel in dashboard["panels"]:
            if panel["type"] == "row":
                continue
            values.append((f"{panel['type']}.Options", panel["options"]))
            if custom := panel["fieldConfig"]["defaults"].get("custom"):
                values.append((f"{panel['type']}.FieldConfig", custom))
            values += [("Query", target) for target in panel["targets"]]
        for kind, value in values:
            count += 1
            lines.append(f"export const value{count}: Plain<{kind}> = {json.dumps(value)};")
    (schema / "check.ts").write_text("\n".join(lines) + "\n", "utf-8")
    settings = {
        "compilerOptions": {
            "strict": True,
            "noEmit": True,
            "skipLibCheck": True,
            "module": "esnext",
            "moduleResolution": "bundler",
            "target": "es2022",
            "types": [],
        },
        "files": ["check.ts"],
    }
    (schema / "tsconfig.json").write_text(json.dumps(settings), "utf-8")
    tsc = schema / "node_modules/.bin/tsc"
    return subprocess.run(
        (str(tsc), "--project", "."), cwd=schema, capture_output=True, text=True, check=False
    )


def test_dashboards_have_grafanas_types(schema: Path) -> None:
    checked = check(schema, [dashboard.json() for dashboard in DASHBOARDS.values()])
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("wrong", ["refresh", "options", "custom", "target"])
def test_the_type_check_can_fail(schema: Path, wrong: str) -> None:
    dashboard = DASHBOARDS["cluster"].json()
    panel = dashboard["panels"][1]
    match wrong:
        case "refresh":
            dashboard["refresh"] = 5
        case "options":
            panel["options"]["legend"]["placement"] = "beside"
        case "custom":
            panel["fieldConfig"]["defaults"]["custom"]["lineWith"] = 1
        case _:
            del panel["targets"][0]["refId"]
    assert "error TS" in check(schema, [dashboard]).stdout
