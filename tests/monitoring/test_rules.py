"""The rules of Prometheus and the routes of Alertmanager, judged by their own tools."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from tests.services.prometheus import ALERTS, MONITORING, checked, rules
from ticket_assets.cli import app

RUNBOOK = MONITORING.parent / "docs" / "runbook.md"
UNIT_TESTS = sorted((MONITORING / "tests").glob("*.yml"))


def test_promtool_and_amtool_accept_the_configurations() -> None:
    checked("promtool", "check", "config", "prometheus.yml")
    checked("promtool", "check", "rules", "thresholds.yml", "rules.yml", "alerts.yml")
    checked("amtool", "check-config", "alertmanager.yml")


@pytest.mark.slow
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_quiet_as_their_unit_tests_say(path: Path) -> None:
    checked("promtool", "test", "rules", path)


def unit_tests() -> Iterator[tuple[str, bool]]:
    """Each alert that is tested, and whether it is to fire."""
    for path in UNIT_TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for expectation in case["alert_rule_test"]:
                yield expectation["alertname"], bool(expectation["exp_alerts"])


def test_every_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    expectations = {(alert, fires) for alert in ALERTS for fires in (True, False)}

    assert set(unit_tests()) == expectations


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_unit_tests_evaluate_every_group_in_order(path: Path) -> None:
    groups = [
        group["name"]
        for name in ("thresholds.yml", "rules.yml", "alerts.yml")
        for group in yaml.safe_load((MONITORING / name).read_text())["groups"]
    ]

    assert yaml.safe_load(path.read_text())["group_eval_order"] == groups


def test_every_threshold_is_compared_with_and_every_one_compared_with_exists() -> None:
    used = set(re.findall(r"tickets_threshold:\w+", (MONITORING / "alerts.yml").read_text()))

    assert used == {rule["record"] for rule in rules("thresholds.yml")}


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    }


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_help_stands(name: str) -> None:
    annotations = ALERTS[name]["annotations"]
    page, _, anchor = annotations["runbook_url"].partition("#")

    assert ALERTS[name]["labels"]["severity"] in ("critical", "warning", "info")
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert page == "https://github.com/ticket-assets/ticket-assets/blob/main/docs/runbook.md"
    assert anchor in headings(RUNBOOK)


def test_every_section_of_the_runbook_is_of_an_alert_and_in_the_order_of_the_alerts() -> None:
    sections = re.findall(r"^### (\w+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)

    assert sections == list(ALERTS)


def test_the_commands_in_the_runbook_exist() -> None:
    groups = typer.main.get_group(app)
    commands = set(re.findall(r"`tickets ([a-z]+)", RUNBOOK.read_text("utf-8")))

    assert commands
    assert commands <= set(groups.commands)


def test_alertmanager_names_only_alerts_that_there_are() -> None:
    named = set(re.findall(r"Tickets\w+", (MONITORING / "alertmanager.yml").read_text()))

    assert named <= set(ALERTS)


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "now"), ("warning", "today"), ("info", "nobody")]
)
def test_the_severity_of_an_alert_decides_who_is_told(severity: str, receiver: str) -> None:
    told = checked(
        "amtool", "config", "routes", "test", "--config.file=alertmanager.yml",
        f"severity={severity}", "alertname=TicketsDrift",
    )  # fmt: skip

    assert told.split() == [receiver]
