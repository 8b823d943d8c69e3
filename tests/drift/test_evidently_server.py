"""Evidently's UI on the drift reports: what it shows, that it follows them, what it refuses."""

import json
import socket
import time
from datetime import date
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from tests.services.s3 import KEY_ID, SECRET
from ticket_assets.drift import evidently_server
from ticket_assets.drift.evidently_server import (
    PROJECT,
    EvidentlyServerError,
    Workspace,
    evidently_application,
    evidently_socket,
    snapshot_address,
)
from ticket_assets.drift.store import ReportStore
from ticket_assets.storage.blobs import BlobStoreError
from ticket_assets.storage.bucket_blobs import BucketBlobs
from ticket_assets.storage.s3_access import S3Access

BASE = "http://127.0.0.1:3002"
FIGURES_TYPE = "evidently:metric_v2:Figures"
FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)


def document(day, language=0.0625, **more):
    rows = [
        {
            "metric": metric,
            "window_days": days,
            "distance": distance,
            "threshold": 0.125,
            "drifted": distance >= 0.125,
            "current_rows": 40 * days,
        }
        for days in (1, 7)
        for metric, distance in (("language", language), ("category", 0.03125))
    ]
    return {"day": day.isoformat(), "model_version": "m1", "note": "", "metrics": rows} | more


FIGURES = {
    "figures": {"tickets": {"tickets": 40}, "languages": {"fr": 0.75, "de": 0.25}},
    "distributions": {
        "language": {
            "reference": {"fr": 0.9, "de": 0.1},
            "current": {"fr": 0.75, "de": 0.25},
            "numerical": False,
        }
    },
}


@pytest.fixture
def reports(file_store):
    return ReportStore(file_store.under("reports"))


@pytest.fixture
def keep(reports):
    def write(content):
        text = content if isinstance(content, str) else json.dumps(content)
        day = SECOND if isinstance(content, str) else content["day"]
        reports.blobs.replace(f"{day}/drift.json", text.encode())

    return write


@pytest.fixture
def workspace(reports):
    return Workspace(reports)


@pytest.fixture
def browser(workspace):
    with TestClient(evidently_application(workspace, BASE), base_url=BASE) as client:
        yield client


def look(workspace):
    changes = workspace.changes()
    workspace.apply(changes)
    return changes


def shown(browser):
    listed = browser.get(f"/api/projects/{PROJECT}/reports").json()
    return {report["name"]: report for report in listed}


def series(browser, group):
    wanted = {"metric": FIGURES_TYPE, "metric_labels": {"group": group}, "tags": [], "metadata": {}}
    answer = browser.post(
        f"/api/v2/snapshots/{PROJECT}/data_series_batch", json={"series_filter": [wanted]}
    )
    return {line["params"]["label"]: line["values"] for line in answer.json()["series"]}


@pytest.mark.slow
def test_each_day_has_a_page_whose_address_does_not_change(workspace, browser, keep):
    keep(document(FIRST, **FIGURES))
    look(workspace)

    *_, project, _, snapshot = urlsplit(snapshot_address(f"{BASE}/", FIRST)).path.split("/")
    page = browser.get(f"/api/projects/{project}/{snapshot}/data").json()

    assert [widget["title"] for widget in page["widgets"] if widget["title"]] == [
        *("drift of the day", "drift of the week", "drift of the day", "drift of the week"),
        "language beside the training reference",
    ]
    assert browser.get(snapshot_address(BASE, FIRST)).text.startswith("<!DOCTYPE html>")
    assert shown(browser)["2026-03-01"]["metadata"]["model"] == "m1"


def test_the_figures_of_all_days_are_lines_over_time(workspace, browser, keep):
    keep(document(SECOND, language=0.25, **FIGURES))
    keep(document(FIRST, **FIGURES))
    look(workspace)

    assert series(browser, "drift of the day") == {"language": [0.5, 2], "category": [0.25, 0.25]}
    assert series(browser, "drifted metrics") == {"share": [0, 0.5]}
    latest = {"tickets": [40, 40], "largest distance / threshold": [0.5, 2]}
    assert series(browser, "latest day with mail") == latest
    assert series(browser, "languages") == {"fr": [0.75, 0.75], "de": [0.25, 0.25]}
    assert shown(browser)["2026-03-02"]["tags"] == ["drifted"]


def test_the_estimated_precision_is_that_of_all_categories_together(workspace, browser, keep):
    figures = {"estimated_precision": 0.97, "estimated_precision_low": 0.9}
    report = document(FIRST, **FIGURES)
    report["metrics"][0] |= figures | {"estimated_precision_by_category": {"network": 0.8}}
    keep(report)
    look(workspace)

    assert series(browser, "estimated precision") == {"precision": [0.97], "precision low": [0.9]}


@pytest.mark.slow
def test_every_panel_of_the_dashboard_has_a_series_of_its_own(workspace, browser):
    panels = browser.get(f"/api/v2/dashboards/{PROJECT}").json()["panels"]

    groups = [panel["values"][0]["metric_labels"]["group"] for panel in panels]

    assert {"drift of the day", "drift of the week", "drifted metrics", "tickets"} < set(groups)
    assert {"languages", "characters", "quality", "sorting", "estimated precision"} < set(groups)


def test_the_workspace_follows_the_reports(workspace, browser, keep, reports):
    keep(document(FIRST, **FIGURES))
    look(workspace)
    keep(document(SECOND, **FIGURES))
    keep(document(FIRST, language=0.375, **FIGURES))

    assert set(look(workspace).snapshots) == {FIRST, SECOND}
    assert series(browser, "drift of the day")["language"] == [3, 0.5]
    assert look(workspace).snapshots == {}

    # As an erasure or a restore does.
    reports.blobs.delete(["2026-03-02/drift.json"])
    look(workspace)

    assert set(shown(browser)) == {"2026-03-01"}
    assert series(browser, "drift of the day")["language"] == [3]
    gone = snapshot_address("/api", SECOND).replace("/reports", "")
    assert browser.get(f"{gone}/data").status_code >= 400


def test_a_server_looks_at_the_reports_by_itself(workspace, keep, monkeypatch):
    monkeypatch.setattr(evidently_server, "LOOK_SECONDS", 0.05)
    with TestClient(evidently_application(workspace, BASE), base_url=BASE) as browser:
        assert shown(browser) == {}
        keep(document(FIRST, **FIGURES))
        deadline = time.monotonic() + 30

        while not shown(browser) and time.monotonic() < deadline:
            time.sleep(0.05)

        assert set(shown(browser)) == {"2026-03-01"}


def test_two_servers_of_a_desk_show_the_same_and_share_nothing(reports, keep):
    keep(document(FIRST, **FIGURES))
    one, other = Workspace(reports), Workspace(reports)
    look(one)
    look(other)
    reports.blobs.delete(["2026-03-01/drift.json"])
    look(one)

    with TestClient(evidently_application(other, BASE), base_url=BASE) as browser:
        assert set(shown(browser)) == {"2026-03-01"}


def test_a_report_of_an_earlier_release_shows_its_drift_and_is_named(workspace, browser, keep):
    keep(document(FIRST))
    keep(document(SECOND, **FIGURES))

    assert look(workspace).without_figures == [FIRST]
    assert series(browser, "drift of the day")["language"] == [0.5, 0.5]
    assert series(browser, "tickets") == {"tickets": [40]}


def test_a_report_of_version_0_1_0_shows_its_drift(workspace, browser, keep):
    row = {"metric": "language", "distance": 0.2, "threshold": 0.1, "drifted": True}
    keep({"day": "2026-03-01", "window_days": 3, "model_version": "m1",
          "metrics": [row | {"current_rows": 60}]})  # fmt: skip
    look(workspace)

    assert series(browser, "drift of the day") == {"language": [2]}


def test_a_day_without_mail_shows_no_tickets(workspace, browser, keep):
    keep(document(FIRST) | {"metrics": [], "figures": {"tickets": {"tickets": 0}}})
    look(workspace)

    assert series(browser, "tickets") == {"tickets": [0]}
    assert series(browser, "drift of the day") == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"day": "2026-03-02"}', '{"day": 3}'])
def test_a_report_that_cannot_be_read_hides_no_other(workspace, browser, keep, caplog, content):
    keep(document(FIRST, **FIGURES))
    keep(content)

    look(workspace)

    assert set(shown(browser)) == {"2026-03-01"}
    assert "The report of 2026-03-02 cannot be shown" in caplog.text


def test_a_desk_without_reports_has_an_empty_dashboard(workspace, browser):
    assert look(workspace).versions == {}
    assert shown(browser) == {}
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/api/projects/{PROJECT}"),
        ("POST", f"/api/v2/dashboards/{PROJECT}"),
        ("POST", "/api/v2/projects"),
        ("POST", "/api/v1/traces"),
        ("PATCH", f"/api/v2/projects/{PROJECT}"),
    ],
)
def test_nothing_can_be_changed(browser, method, path):
    assert browser.request(method, path, json={}).status_code == 405


def test_a_page_elsewhere_cannot_read_the_reports_by_another_name(browser):
    assert browser.get("/", headers={"host": "evil.example"}).status_code == 400


def test_telemetry_is_off(browser, monkeypatch):
    from iterative_telemetry import IterativeTelemetryLogger

    monkeypatch.setattr(
        IterativeTelemetryLogger, "_send_daemon", lambda *_: pytest.fail("it was sent")
    )

    assert browser.get("/api/projects").status_code == 200


def test_the_port_is_that_of_the_address_and_a_taken_one_is_told(closed_port):
    base = f"http://localhost:{closed_port}"

    with evidently_socket(base) as listener:
        assert listener.getsockname() == ("127.0.0.1", closed_port)
        with pytest.raises(EvidentlyServerError, match=r"already in use.* Give it another"):
            evidently_socket(base)


def test_an_address_of_another_machine_is_served_from_the_usual_port(monkeypatch):
    addresses = []
    monkeypatch.setattr(socket, "create_server", addresses.append)

    evidently_socket("https://drift.example.org/desk", "192.0.2.1")

    assert addresses == [("192.0.2.1", 3002)]


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_named(closed_port):
    access = S3Access(f"http://127.0.0.1:{closed_port}", "eu-west-1", KEY_ID, SECRET)

    with pytest.raises(BlobStoreError, match=f"127.0.0.1:{closed_port} does not answer"):
        Workspace(ReportStore(BucketBlobs("s3://bucket", access))).changes()
