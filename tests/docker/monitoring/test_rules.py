"""Recording rules and alerts, by the real promtool."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.prometheus import MONITORING
from tests.support.tools import tool

UNIT_TESTS = Path(__file__).with_name("rules_test.yml")
RUNBOOK = MONITORING.parents[1] / "docs/monitoring.md"
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def promtool(*arguments: object) -> None:
    done = subprocess.run([tool("promtool"), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_and_rules_are_valid():
    promtool("check", "config", MONITORING / "prometheus/prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", MONITORING / "prometheus/rules.yml")


def test_every_rule_does_what_its_unit_tests_say():
    promtool("test", "rules", UNIT_TESTS)


def test_every_alert_is_seen_to_fire_and_not_to_fire():
    seen = set()
    for group in yaml.safe_load(UNIT_TESTS.read_text())["tests"]:
        seen |= {(test["alertname"], bool(test["exp_alerts"])) for test in group["alert_rule_test"]}
    assert seen == {(alert, fires) for alert in ALERTS for fires in (True, False)}


def test_every_recorded_figure_is_looked_at():
    queries = re.findall(r"expr: (.+)", UNIT_TESTS.read_text())
    for rule in RULES:
        assert "alert" in rule or any(rule["record"] in query for query in queries), rule["record"]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_to_do(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert {*alert["annotations"]} == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"docs/monitoring.md#{name.lower()}"
    assert f"\n### {name}\n" in RUNBOOK.read_text()
