import subprocess
from pathlib import Path

import pytest

from batchgrad.errors import JobFailed
from tests.monitoring.programs import program
from tests.monitoring.watched import DIGITS, RULES, Watched, until

PROMETHEUS = Path(__file__).parents[2] / "deploy/prometheus"


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = (program("promtool"), *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_rules_are_valid() -> None:
    checked = promtool("check", "rules", "--lint-fatal", RULES)
    assert checked.returncode == 0, checked.stderr


def test_alerts_fire_only_under_their_conditions() -> None:
    tested = promtool("test", "rules", PROMETHEUS / "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_rule_tests_can_fail(tmp_path: Path) -> None:
    """The rule tests fail if a threshold changes."""
    (tmp_path / "rules").mkdir()
    rules = RULES.read_text("utf-8")
    changed = rules.replace("+ 300", "+ 3000")
    assert changed != rules
    (tmp_path / "rules/alerts.yml").write_text(changed, "utf-8")
    cases = tmp_path / "alerts_test.yml"
    cases.write_text((PROMETHEUS / "alerts_test.yml").read_text("utf-8"), "utf-8")
    assert promtool("test", "rules", cases).returncode == 1


def test_a_failed_job_reaches_alertmanager(watched: Watched) -> None:
    assert not [alert for alert in watched.alerts() if _name(alert) == "BatchgradJobFailed"]
    diverging = DIGITS | {"workers": 0, "optimizer": {"kind": "sgd", "learning_rate": 1e30}}
    with pytest.raises(JobFailed, match="nonfinite"):
        watched.client.wait(watched.client.submit(diverging).id)
    (alert,) = until(
        lambda: [each for each in watched.alerts() if _name(each) == "BatchgradJobFailed"],
        "no alert in Alertmanager",
    )
    assert alert["labels"]["reason"] == "nonfinite"
    assert alert["annotations"]["runbook_url"] == "docs/how-to/runbooks.md#job-failed"


def _name(alert: dict[str, dict[str, str]]) -> str:
    return alert["labels"]["alertname"]
