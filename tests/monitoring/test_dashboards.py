import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.build import DASHBOARDS, FOLDER, files
from deploy.grafana.layout import WIDTH
from tests.monitoring.busy import busy_registry

ROOT = Path(__file__).parents[2]
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/rules/alerts.yml").read_text("utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
_METRIC = re.compile(r"\b(?:batchgrad|process)_[a-z_]+")


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Names of all series of a busy service."""
    return {sample.name for family in busy_registry(1).collect() for sample in family.samples}


def panels(name: str) -> list[dict[str, Any]]:
    return [each for each in DASHBOARDS[name].json()["panels"] if each["type"] != "row"]


def test_the_committed_dashboards_are_those_that_build_writes() -> None:
    committed = {file.name: file.read_text("utf-8") for file in FOLDER.iterdir()}
    assert committed == files(), "Write them again: python -m deploy.grafana.build"


def test_each_dashboard_has_its_own_uid() -> None:
    assert len({dashboard.uid for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_ids_are_unique_and_panels_do_not_overlap(name: str) -> None:
    placed = DASHBOARDS[name].json()["panels"]
    assert len({each["id"] for each in placed}) == len(placed)
    for panel in placed:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= WIDTH
    for one, other in combinations([each["gridPos"] for each in placed], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_has_a_unit_a_description_and_known_metrics(name: str, known: set[str]) -> None:
    for panel in panels(name):
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"].endswith((".", "?"))
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(_METRIC.findall(target["expr"])) <= known


def test_the_overview_begins_with_numbers_whose_colors_judge_them() -> None:
    top = [each for each in panels("overview") if each["gridPos"]["y"] == 1]
    assert sum(each["gridPos"]["w"] for each in top) == WIDTH
    assert {each["type"] for each in top} == {"stat"}
    judged = [
        each for each in top if len(each["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1
    ]
    assert len(judged) == len(top) - 1  # no speed is good or bad by itself


def test_a_job_begins_with_loss_and_gap_large() -> None:
    first, second, *others = panels("job")
    assert [first["title"], second["title"]] == ["Loss", "Gap"]
    assert first["gridPos"]["h"] == second["gridPos"]["h"] == 12
    assert all(each["gridPos"]["h"] < 12 for each in others)


def test_series_of_jobs_link_to_the_dashboard_and_the_page_of_their_job() -> None:
    uids = {dashboard.uid for dashboard in DASHBOARDS.values()}
    linked = [each for each in panels("overview") if "links" in each["fieldConfig"]["defaults"]]
    for panel in linked:
        dashboard, page = (each["url"] for each in panel["fieldConfig"]["defaults"]["links"])
        assert dashboard.removeprefix("/d/").partition("?")[0] in uids
        assert page == "${service}/jobs/${__field.labels.job_id}"
    of_jobs = [each for each in panels("overview") if "{{job_id}}" in str(each["targets"])]
    assert linked == of_jobs
    assert "${service}/jobs/${job_id}" in [
        each["url"] for each in DASHBOARDS["job"].json()["links"]
    ]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_use_the_provisioned_data_source(name: str) -> None:
    file = ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml"
    provisioned = yaml.safe_load(file.read_text("utf-8"))["datasources"][0]
    variable = DASHBOARDS[name].json()["templating"]["list"][0]
    assert variable["name"] == "datasource"
    assert variable["query"] == provisioned["type"]
    assert variable["current"]["value"] == provisioned["uid"]
    assert variable["current"]["text"] == provisioned["name"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_links_to_a_runbook(rule: dict[str, Any], known: set[str]) -> None:
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    page, _, anchor = annotations["runbook_url"].partition("#")
    assert anchor in _anchors(ROOT / page)
    assert set(_METRIC.findall(rule["expr"])) <= known


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_firing_and_a_silent_test_case(rule: dict[str, Any]) -> None:
    file = ROOT / "deploy/prometheus/alerts_test.yml"
    cases = [
        bool(case.get("exp_alerts"))
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == rule["alert"]
    ]
    assert True in cases
    assert False in cases


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them: lower case, dashes for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
