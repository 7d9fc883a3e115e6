"""deploy/monitoring: each metric and label in the dashboard and the alerts exists, and promtool runs their tests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from netvps.adapters.metrics import Count, Metrics
from netvps.domain.runner.runner import RunnerState
from netvps.domain.session.session import SessionState
from netvps.timing import Step

FOLDER = Path(__file__).parents[3] / "deploy/monitoring"
SCRAPED = {"job", "instance", "le"}
"""Labels that Prometheus adds, and that of histograms."""
STATES = {"netvps_sessions": {*SessionState}, "netvps_runners": {*RunnerState}}
_WORD = re.compile(r"\b(netvps|process)_[a-z_]+\b(?!-)")
_SELECTOR = re.compile(r"\b((?:netvps|process)_[a-z_]+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')
_BY = re.compile(r"by \(([^)]*)\)")


def _existing() -> dict[str, set[str]]:
    """The labels of each sample of the page of a server and of a runner."""
    metrics = Metrics("1")
    for step in get_args(Step):
        metrics.observe_duration(step, "x", 0.1)
    for count in get_args(Count):
        metrics.show(count, {"x": 1})
    families = text_string_to_metric_families(metrics.page().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def _dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return content


def _expressions() -> list[str]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    alerts = [str(rule["expr"]) for group in groups for rule in group["rules"]]
    return alerts + [str(target["expr"]) for panel in _dashboard()["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", _expressions())
def test_each_metric_and_label_exists(expression: str) -> None:
    existing = _existing()
    used = {match[0] for match in _WORD.finditer(expression)}
    assert used <= existing.keys() or expression.startswith("up{")
    for metric, matchers in _SELECTOR.findall(expression):
        for label, value in _MATCHER.findall(matchers):
            assert label in existing[metric] | SCRAPED
            assert label != "state" or value in STATES[metric]
    known = SCRAPED.union(*(existing[metric] for metric in used))
    for labels in _BY.findall(expression):
        assert set(labels.split(", ")) <= known


def test_every_alert_is_tested() -> None:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    raised = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")}
    quiet = {each["alertname"] for each in tests[0]["alert_rule_test"] if not each.get("exp_alerts")}
    assert {rule["alert"] for group in groups for rule in group["rules"]} == raised == quiet


def test_the_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = _dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]])
def test_promtool_accepts_them(words: list[str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(["promtool", *words], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
