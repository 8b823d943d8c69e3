"""A real Prometheus on a desk after a run: its scrape, the rules, and an alert to its receiver."""

import re
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, expect

from tests.monitoring.dashboard_queries import FILES, queries
from tests.monitoring.watched_desk import WatchedDesk, kill
from tests.services import wait_until
from tests.services.browser import Keep
from tests.services.prometheus import ALERTS, program, rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOT_HERE = {
    # Nobody has opened Dagster's UI.
    "dagster_webserver_up",
    "dagster_code_location_load_error",
    # Nobody has answered fifty audits.
    "tickets_realised_audited_precision_high_ratio",
}
# Nothing here runs in a container, and nobody has answered an audit.
WITHOUT_SERIES = re.compile("container_|cadvisor_|audited_precision")
RECORDED = {rule["record"]: rule["expr"] for rule in rules("rules.yml")}
MAIN_QUERIES = (
    "sum by (decision) (tickets_predictions)",
    "tickets_process_resident_memory_bytes",
    "max(dagster_daemon_heartbeat_age_seconds)",
)
THRESHOLDS = {rule["record"]: rule["expr"] for rule in rules("thresholds.yml")}


def test_promtool_has_nothing_to_say_of_the_exporter(watched: WatchedDesk) -> None:
    with urllib.request.urlopen(watched.metrics, timeout=30) as answer:  # noqa: S310
        metrics = answer.read()

    lint = subprocess.run(
        [program("promtool"), "check", "metrics"], input=metrics, capture_output=True, check=False
    )

    assert (lint.returncode, lint.stdout + lint.stderr) == (0, b"")


def test_every_target_is_scraped(watched: WatchedDesk) -> None:
    jobs = {"tickets", "node", "prometheus", "alertmanager"}

    def up() -> set[str]:
        return {series["metric"]["job"] for series in watched.prometheus.query("up == 1")}

    wait_until(lambda: up() == jobs, "every target")


@pytest.mark.parametrize("name", [*THRESHOLDS, *RECORDED])
def test_a_recording_rule_returns_series(watched: WatchedDesk, name: str) -> None:
    wait_until(lambda: bool(watched.prometheus.query(name)), name)

    assert watched.prometheus.query((THRESHOLDS | RECORDED)[name])


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_compares_what_there_is(watched: WatchedDesk, name: str) -> None:
    expression = ALERTS[name]["expr"]
    names = r"\b(?:tickets|dagster|node|prometheus|alertmanager)[_:][a-z0-9_:]+"
    watched.prometheus.query(expression)  # raises where it cannot be evaluated

    for metric in set(re.findall(names, expression)) - NOT_HERE:
        wait_until(lambda metric=metric: bool(watched.prometheus.query(metric)), metric)


def test_no_rule_fails(watched: WatchedDesk) -> None:
    (failures,) = watched.prometheus.query("sum(prometheus_rule_evaluation_failures_total)")

    assert failures["value"][1] == "0"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_shows_something_everywhere(watched: WatchedDesk, path: Path) -> None:
    """Also where there is nothing to count: a panel without data looks like one that is broken."""
    asked = [query for query in queries(path) if not WITHOUT_SERIES.search(query)]

    def unanswered() -> list[str]:
        return [query for query in asked if not watched.prometheus.query(query)]

    # A rate needs two scrapes, the number of new labels a look of `retrain_on_drift`.
    with suppress(AssertionError):
        wait_until(lambda: not unanswered(), path.stem, 120)
    assert "\n".join(unanswered()) == ""
    # The 0 for nothing stands alone, not beside what there is.
    for query in filter(re.compile(r"or on \(\) 0 \* sum\(").search, asked):
        assert len({len(series["metric"]) for series in watched.prometheus.query(query)}) == 1


def test_a_killed_daemon_is_told_once(watched: WatchedDesk) -> None:
    alert = "TicketsDaemonSilent"
    alive = "max(dagster_daemon_heartbeat_age_seconds) < 40"
    wait_until(lambda: bool(watched.prometheus.query(alive)), "the daemon's sign of life", 120)
    wait_until(lambda: alert not in watched.prometheus.firing(), "a quiet alert")
    watched.receiver.told.clear()

    kill(watched.daemon)

    wait_until(lambda: bool(watched.receiver.firing(alert)), "the message", 120)
    time.sleep(3)  # Alertmanager looks every second whether there is something new to tell
    assert watched.receiver.firing(alert) == ["now"]


def test_prometheus_own_pages_show_the_desk_and_the_alert(
    watched: WatchedDesk, browser: Browser, keep: Keep
) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 2250})
    graphs = {
        f"g{number}.{name}": value
        for number, expression in enumerate(MAIN_QUERIES)
        for name, value in (("expr", expression), ("tab", "0"), ("range_input", "1m"))
    }
    page.goto(f"{watched.prometheus.url}/graph?{urlencode(graphs)}")
    for line in ('decision="auto"', 'process="daemon"'):
        expect(page.get_by_text(line).first).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    keep(page, "prometheus-graph")

    page.get_by_role("link", name="Alerts").click()

    expect(page.get_by_text("TicketsDaemonSilent (1 active)")).to_be_visible()
    keep(page, "prometheus-alerts")
