"""The drift reports in a browser: to be read only, from this machine only."""

from datetime import date
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from tests.services.s3 import KEY_ID, SECRET
from ticket_assets.drift.report_server import (
    ReportServerError,
    report_address,
    report_application,
    serve_reports,
)
from ticket_assets.drift.store import ReportStore
from ticket_assets.storage.bucket_blobs import BucketBlobs
from ticket_assets.storage.s3_access import S3Access

BASE = "http://127.0.0.1:3001"


@pytest.fixture
def reports(file_store):
    for day, files in {
        "2026-03-01": ["drift.json"],
        "2026-03-02": ["drift.json", "drift.html"],
    }.items():
        for name in files:
            file_store.replace(f"reports/{day}/{name}", f"{day} {name}".encode())
    file_store.replace("warehouse.duckdb", b"secret")
    return ReportStore(file_store.under("reports"))


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


@pytest.mark.parametrize("path", ["/..%2fwarehouse.duckdb", "/../warehouse.duckdb", "/2026-03-02"])
def test_nothing_outside_the_reports_is_served(browser, path):
    assert browser.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(browser, reports, method):
    assert browser.request(method, "/2026-03-02/drift.html").status_code == 405
    assert reports.html_days() == [date(2026, 3, 2)]


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


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_named(closed_port):
    access = S3Access(f"http://127.0.0.1:{closed_port}", "eu-west-1", KEY_ID, SECRET)
    blobs = BucketBlobs("s3://bucket", access)
    browser = TestClient(report_application(ReportStore(blobs), BASE), base_url=BASE)

    page = browser.get("/2026-03-02/drift.html")

    assert (page.status_code, page.text.splitlines()) == (503, [page.text])
    assert f"http://127.0.0.1:{closed_port} does not answer for s3://bucket." in page.text


def test_a_desk_without_reports_says_so(file_store):
    browser = TestClient(report_application(ReportStore(file_store), BASE), base_url=BASE)

    assert "No report yet" in browser.get("/").text
    assert browser.get("/2026-03-02/drift.html").status_code == 404
