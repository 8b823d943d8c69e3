"""The drift reports in a browser: to be read only, from this machine only."""

from datetime import date
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from ticket_assets.drift.report_server import (
    ReportServerError,
    report_address,
    report_application,
    serve_reports,
)
from ticket_assets.drift.store import ReportStore

BASE = "http://127.0.0.1:3001"


@pytest.fixture
def reports(tmp_path):
    for day, files in {
        "2026-03-01": ["drift.json"],
        "2026-03-02": ["drift.json", "drift.html"],
    }.items():
        (tmp_path / "reports" / day).mkdir(parents=True)
        for name in files:
            (tmp_path / "reports" / day / name).write_text(f"{day} {name}")
    (tmp_path / "warehouse.duckdb").write_text("secret")
    (tmp_path / "reports" / "link").symlink_to(tmp_path / "warehouse.duckdb")
    return ReportStore(tmp_path / "reports")


@pytest.fixture
def browser(reports):
    return TestClient(report_application(reports, BASE), base_url=BASE)


def test_the_address_of_a_day_leads_to_its_report(browser):
    page = browser.get(report_address(f"{BASE}/", date(2026, 3, 2)))

    assert (page.status_code, page.text) == (200, "2026-03-02 drift.html")
    assert page.headers["content-type"].startswith("text/html")


def test_the_start_lists_the_days_the_latest_first(browser):
    page = browser.get("/").text

    assert page.index("2026-03-02/drift.html") < page.index("2026-03-01/drift.json")


@pytest.mark.parametrize("path", ["/..%2fwarehouse.duckdb", "/../warehouse.duckdb", "/link"])
def test_nothing_outside_the_reports_is_served(browser, path):
    assert browser.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(browser, reports, method):
    assert browser.request(method, "/2026-03-02/drift.html").status_code == 405
    assert reports.html_path(date(2026, 3, 2)) is not None


def test_a_page_elsewhere_cannot_read_the_reports_by_another_name(browser):
    assert browser.get("/", headers={"host": "evil.example"}).status_code == 400


def test_reports_are_served_at_their_address_and_a_taken_port_is_told(reports, closed_port):
    base = f"http://localhost:{closed_port}"

    assert serve_reports(reports, base)

    with urlopen(report_address(base, date(2026, 3, 2))) as page:  # noqa: S310
        assert page.read() == b"2026-03-02 drift.html"
    with pytest.raises(ReportServerError, match=r"Address already in use\. Give them another"):
        serve_reports(reports, base)


def test_an_address_of_another_machine_is_served_by_others(reports):
    assert not serve_reports(reports, "https://reports.example.org/desk")


def test_a_desk_without_reports_says_so(tmp_path):
    browser = TestClient(report_application(ReportStore(tmp_path / "none"), BASE), base_url=BASE)

    assert "No report yet" in browser.get("/").text
    assert browser.get("/2026-03-02/drift.html").status_code == 404
