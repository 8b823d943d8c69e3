"""What stays of the drift reports."""

from datetime import date

import pandas as pd
import pytest

from ticket_assets.drift.report import DriftReport
from ticket_assets.drift.store import ReportStore


def report(day, html=None, json="{}"):
    return DriftReport(date(2026, 3, day), pd.DataFrame(), json, html)


@pytest.fixture
def store(file_store):
    return ReportStore(file_store.under("reports"))


def names(store):
    return [blob.name for blob in store.blobs.list()]


def test_report_is_written_under_its_day(store):
    name = store.write(report(4, html="<html>é</html>", json='{"day": "2026-03-04"}'))

    assert name == "2026-03-04/drift.json"
    assert store.read(name) == b'{"day": "2026-03-04"}'
    assert store.read("2026-03-04/drift.html").decode() == "<html>é</html>"
    assert names(store) == ["2026-03-04/drift.html", "2026-03-04/drift.json"]


def test_day_run_again_keeps_nothing_of_its_earlier_report(store):
    store.write(report(4, html="<html></html>"))

    store.write(report(4, json='{"again": true}'))

    assert names(store) == ["2026-03-04/drift.json"]
    assert store.read("2026-03-04/drift.json") == b'{"again": true}'
    assert store.html_days() == []


def test_days_are_in_order_whatever_the_order_of_writing(store):
    assert store.days() == []

    for day in (3, 10, 9):
        store.write(report(day))

    assert store.days() == [date(2026, 3, 3), date(2026, 3, 9), date(2026, 3, 10)]


def test_html_is_pruned_beyond_the_days_to_keep_and_figures_stay(store):
    for day in (1, 7, 8, 10):
        store.write(report(day, html="<html></html>" if day != 10 else None))

    pruned = store.prune_html(keep_days=3)

    assert pruned == ["2026-03-01/drift.html", "2026-03-07/drift.html"]
    assert store.html_days() == [date(2026, 3, 8)]
    assert len(store.days()) == 4
    assert store.prune_html(keep_days=3) == []


def test_html_worth_rendering_is_what_pruning_would_keep(store):
    assert store.first_html_day(3, last=date(2026, 3, 4)) == date(2026, 3, 2)

    store.write(report(10))

    assert store.first_html_day(3, last=date(2026, 3, 4)) == date(2026, 3, 8)
    assert store.first_html_day(3, last=date(2026, 3, 12)) == date(2026, 3, 10)


def test_empty_store_has_nothing_to_prune(store):
    assert store.prune_html(keep_days=1) == []


def test_only_the_reports_that_name_a_ticket_are_removed(store):
    named, other = "0123456789abcdef0123", "f" * 20
    for day, text in ((1, f'"{named}"'), (2, f"0{named}0"), (3, other)):
        store.write(report(day, html="<html>", json=text))

    planned = store.remove_naming({named}, dry_run=True)

    assert store.remove_naming({named}) == planned
    assert planned == [f"2026-03-01/{name}" for name in ("drift.html", "drift.json")]
    assert store.days() == [date(2026, 3, 2), date(2026, 3, 3)]


def test_only_reports_are_read(store):
    store.blobs.replace("2026-03-04/other.json", b"secret")

    assert store.read("2026-03-04/other.json") is None
    assert store.read("../cursors/alerts.json") is None
    assert store.read("2026-03-05/drift.json") is None
