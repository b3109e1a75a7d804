"""Panels in Grafana's classic dashboard schema (v1), as much of it as is needed here.

A panel is a title, a description, a unit and PromQL. Written by
hand, since grafana-foundation-sdk, which would do it, has versions like 1769699660!11.6.0, whose
order says nothing about Grafana's; `make test-monitoring` checks what is written here against
Grafana's own types instead.
"""

from dataclasses import dataclass, field
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "[$__rate_interval]"
"""The range of a rate: Grafana sees to it that it spans a few scrapes."""

NAMED = "* on (job_id) group_left (name) batchgrad_job_info"
"""Gives a job's series the job's name, as a label."""

OF_JOB = (
    {
        "title": "Dashboard of the job",
        "url": "/d/batchgrad-job?var-job_id=${__field.labels.job_id}&var-service=${service}",
    },
    {"title": "Page of the job", "url": "${service}/jobs/${__field.labels.job_id}"},
)
"""Where a click on a job's series leads."""

_COLORS = {"ok": "green", "note": "blue", "warn": "orange", "bad": "red"}

Links = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Query:
    """PromQL, and what its series are called: text with {{label}}, "" for Grafana's own choice."""

    expr: str
    legend: str = ""


def quantile(part: float, metric: str, by: str) -> Query:
    """A quantile (0 to 1) of a histogram's newest observations, by label."""
    buckets = f"sum by (le, {by}) (rate({metric}_bucket{RATE}))"
    return Query(f"histogram_quantile({part}, {buckets})", f"{{{{{by}}}}}")


@dataclass(frozen=True)
class Panel:
    """One panel. `unit` is Grafana's id of a unit; `options` replace those of the kind."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    kind: str = "timeseries"
    links: Links = ()
    custom: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """The panel with its id, at column `x` (0 to 23) and line `y` of the grid."""
        field_config: dict[str, Any] = {"unit": self.unit, **self.defaults}
        if self.links:
            field_config["links"] = [{**link, "targetBlank": False} for link in self.links]
        if self.custom:
            field_config["custom"] = self.custom
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": field_config, "overrides": []},
            "options": self.options,
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "datasource": DATASOURCE,
                    "editorMode": "code",
                    "expr": query.expr,
                    "legendFormat": query.legend or "__auto",
                    "format": "heatmap" if self.kind == "heatmap" else "time_series",
                    # What a value is now is one query at one moment; a curve is one over a range.
                    "instant": self.kind in {"bargauge", "stat"},
                    "range": self.kind not in {"bargauge", "stat"},
                }
                for place, query in enumerate(self.queries)
            ],
        }


def curves(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    log: bool = False,
    stacked: bool = False,
    limits: tuple[float, float] | None = None,
    height: int = 8,
    links: Links = (),
) -> Panel:
    """Lines over time; `log` for a logarithmic axis, `limits` for a fixed one."""
    return Panel(
        title,
        description,
        unit,
        queries,
        width=width,
        height=height,
        links=links,
        custom={
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        },
        defaults={"color": {"mode": "palette-classic"}}
        | ({"min": limits[0], "max": limits[1]} if limits else {}),
        options={
            "legend": {
                "calcs": ["lastNotNull"],
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def value(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    width: int = 4,
    color: str = "note",
    above: dict[float, str] | None = None,
    name: bool = False,
    words: dict[str, str] | None = None,
) -> Panel:
    """One number, or the series' name; its color, others from certain values on; `words` for some.

    The values that words stand for are text, as Grafana's mappings have them.
    """
    steps: list[dict[str, Any]] = [{"value": None, "color": _COLORS[color]}]
    steps += [{"value": at, "color": _COLORS[word]} for at, word in sorted((above or {}).items())]
    return Panel(
        title,
        description,
        unit,
        (query,),
        width=width,
        height=4,
        kind="stat",
        defaults={
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        | ({"mappings": [_words(words)]} if words else {}),
        options={
            **_reduced("horizontal"),
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "percentChangeColorMode": "standard",
            "showPercentChange": False,
            "textMode": "name" if name else "value",
            "wideLayout": True,
        },
    )


def bars(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    width: int = 8,
    links: Links = (),
) -> Panel:
    """A bar for each series, 0 to 1."""
    return Panel(
        title,
        description,
        unit,
        (query,),
        width=width,
        links=links,
        kind="bargauge",
        defaults={"color": {"mode": "continuous-blues"}, "min": 0, "max": 1},
        options={
            **_reduced("horizontal"),
            "displayMode": "basic",
            "legend": {
                "calcs": [],
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": False,
            },
            "maxVizHeight": 300,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "auto",
            "showUnfilled": True,
            "sizing": "auto",
            "valueMode": "color",
        },
    )


def heat_map(title: str, description: str, unit: str, query: Query, *, width: int = 12) -> Panel:
    """A histogram's buckets over time; `unit` is that of the buckets."""
    return Panel(
        title,
        description,
        unit,
        (query,),
        width=width,
        kind="heatmap",
        custom={"scaleDistribution": {"type": "linear"}},
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {
                "exponent": 0.5,
                "fill": "dark-orange",
                "mode": "scheme",
                "reverse": False,
                "scale": "exponential",
                "scheme": "Oranges",
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
        },
    )


def _reduced(orientation: str) -> dict[str, Any]:
    return {
        "orientation": orientation,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }


def _words(words: dict[str, str]) -> dict[str, Any]:
    options = {at: {"index": place, "text": word} for place, (at, word) in enumerate(words.items())}
    return {"type": "value", "options": options}
