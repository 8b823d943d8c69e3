"""What stays on disk of the drift reports."""

from datetime import date

import pandas as pd

from ticket_assets.drift.report import DriftReport
from ticket_assets.drift.store import ReportStore


def report(day, html=None, json="{}"):
    return DriftReport(date(2026, 3, day), pd.DataFrame(), json, html)


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_report_is_written_under_its_day(tmp_path):
    store = ReportStore(tmp_path / "reports")

    path = store.write(report(4, html="<html>é</html>", json='{"day": "2026-03-04"}'))

    assert path == tmp_path / "reports/2026-03-04/drift.json"
    assert path.read_text(encoding="utf-8") == '{"day": "2026-03-04"}'
    html = store.html_path(date(2026, 3, 4))
    assert html is not None
    assert html.read_text(encoding="utf-8") == "<html>é</html>"
    assert files(tmp_path) == ["reports/2026-03-04/drift.html", "reports/2026-03-04/drift.json"]


def test_day_run_again_keeps_nothing_of_its_earlier_report(tmp_path):
    store = ReportStore(tmp_path)
    store.write(report(4, html="<html></html>"))

    store.write(report(4, json='{"again": true}'))

    assert files(tmp_path) == ["2026-03-04/drift.json"]
    assert (tmp_path / "2026-03-04/drift.json").read_text() == '{"again": true}'
    assert store.html_path(date(2026, 3, 4)) is None


def test_latest_is_the_last_day_whatever_the_order_of_writing(tmp_path):
    store = ReportStore(tmp_path)
    assert store.latest() is None

    for day in (3, 10, 9):
        store.write(report(day))

    assert store.latest() == date(2026, 3, 10)
    assert store.days() == [date(2026, 3, 3), date(2026, 3, 9), date(2026, 3, 10)]


def test_html_is_pruned_beyond_the_days_to_keep_and_figures_stay(tmp_path):
    store = ReportStore(tmp_path)
    for day in (1, 7, 8, 10):
        store.write(report(day, html="<html></html>" if day != 10 else None))

    pruned = store.prune_html(keep_days=3)

    assert pruned == [tmp_path / "2026-03-01/drift.html", tmp_path / "2026-03-07/drift.html"]
    assert [store.html_path(day) is not None for day in store.days()] == [False, False, True, False]
    assert len(store.days()) == 4
    assert store.prune_html(keep_days=3) == []


def test_html_worth_rendering_is_what_pruning_would_keep(tmp_path):
    store = ReportStore(tmp_path)
    assert store.first_html_day(3, last=date(2026, 3, 4)) == date(2026, 3, 2)

    store.write(report(10))

    assert store.first_html_day(3, last=date(2026, 3, 4)) == date(2026, 3, 8)
    assert store.first_html_day(3, last=date(2026, 3, 12)) == date(2026, 3, 10)


def test_empty_store_has_nothing_to_prune(tmp_path):
    assert ReportStore(tmp_path / "absent").prune_html(keep_days=1) == []


def test_only_the_reports_that_name_a_ticket_are_removed(tmp_path):
    store = ReportStore(tmp_path)
    named, other = "0123456789abcdef0123", "f" * 20
    for day, text in ((1, f'"{named}"'), (2, f"0{named}0"), (3, other)):
        folder = tmp_path / f"2025-06-0{day}"
        folder.mkdir()
        (folder / "drift.json").write_text(text)
        (folder / "drift.html").write_text("<html>")

    planned = store.remove_naming({named}, dry_run=True)

    assert store.remove_naming({named}) == planned
    assert planned == [tmp_path / "2025-06-01" / name for name in ("drift.html", "drift.json")]
    assert store.days() == [date(2025, 6, 2), date(2025, 6, 3)]
