"""Names of categories on the pages of drift reports, as a browser shows them."""

from datetime import date

import pandas as pd
import pytest

from tests.drift.test_report import REFERENCE, comparison, mail
from tests.hostile_names import NAMES
from tests.loopback import free_port
from ticket_assets.drift.report_server import report_address, serve_reports
from ticket_assets.drift.store import ReportStore
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.text.characters import visible

DAY = date(2026, 6, 1)
SHOWN = ("script", "script in capitals", "image", "entity", "markup", "clears", "turned", "Arabic")


@pytest.mark.slow
def test_the_page_of_a_day_shows_names_and_runs_nothing_of_them(tmp_path, browser):
    labels = [NAMES[name] for name in SHOWN]
    renamed = [
        tickets.assign(category=pd.Series(labels * len(tickets))[: len(tickets)].to_numpy())
        for tickets in (REFERENCE, mail(200, seed=3))
    ]
    report = comparison(renamed[0]).report(renamed[1], day=DAY, html="always")
    reports = ReportStore(FolderBlobs(tmp_path))
    reports.write(report)
    base = f"http://127.0.0.1:{free_port()}"
    serve_reports(reports, base)
    page = browser.new_page()
    dialogs, requests, errors = [], [], []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))

    page.goto(report_address(base, DAY))
    page.wait_for_selector(".xtick text, .ytick text", timeout=60_000)

    ticks = page.locator(".xtick text, .ytick text").all_text_contents()
    assert {visible(label) for label in labels} <= set(ticks)
    assert (dialogs, errors) == ([], [])
    assert {url for url in requests if not url.startswith((base, "blob:", "data:"))} == set()
