"""Dashboards: rows of panels on Grafana's grid, under the variables that their PromQL names."""

from dataclasses import dataclass
from typing import Any

from deploy.grafana.panels import Panel

WIDTH = 24
"""Columns of the grid."""


@dataclass(frozen=True)
class Dashboard:
    """Rows of panels, each under a title; `variables` and `links` are its own."""

    uid: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    variables: tuple[dict[str, Any], ...] = ()
    links: tuple[dict[str, Any], ...] = ()

    def json(self) -> dict[str, Any]:
        """What Grafana reads from a file."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["batchgrad"],
            "schemaVersion": 41,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "timezone": "browser",
            "refresh": "5s",
            "time": {"from": "now-30m", "to": "now"},
            "links": [_OTHER_DASHBOARDS, link("Service", "${service}"), *self.links],
            "templating": {"list": [_DATASOURCE_VARIABLE, _SERVICE_VARIABLE, *self.variables]},
            "panels": list(self._placed()),
        }

    def _placed(self) -> list[dict[str, Any]]:
        """Panels from left to right, on the next line when one is full."""
        placed: list[dict[str, Any]] = []
        y = 0
        for title, panels in self.rows:
            place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
            row = {"id": len(placed) + 1, "type": "row", "title": title, "gridPos": place}
            placed.append({**row, "collapsed": False, "panels": []})
            y, x, line = y + 1, 0, 0
            for panel in panels:
                if x + panel.width > WIDTH:
                    y, x, line = y + line, 0, 0
                placed.append(panel.json(len(placed) + 1, x, y))
                x, line = x + panel.width, max(line, panel.height)
            y += line
        return placed


def link(title: str, url: str) -> dict[str, Any]:
    """A link at the top of a dashboard; variables in its address are replaced."""
    return {
        **_OTHER_DASHBOARDS,
        "type": "link",
        "title": title,
        "tags": [],
        "includeVars": False,
        "keepTime": False,
        "url": url,
    }


_OTHER_DASHBOARDS = {
    "type": "dashboards",
    "title": "batchgrad",
    "tags": ["batchgrad"],
    "asDropdown": False,
    "icon": "external link",
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "tooltip": "",
    "url": "",
}

_DATASOURCE_VARIABLE = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {"text": "Prometheus", "value": "prometheus", "selected": True},
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "refresh": 1,
    "regex": "",
    "options": [],
}

_SERVICE_VARIABLE = {
    "name": "service",
    "label": "Service's address",
    "description": "For links to its pages, as this browser reaches it.",
    "type": "textbox",
    "query": "http://localhost:8711",
    "current": {
        "text": "http://localhost:8711",
        "value": "http://localhost:8711",
        "selected": True,
    },
    "hide": 0,
    "options": [],
}
