"""The reports of a run's days, read a page of days at a time."""

import json
from datetime import date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ticket_assets.drift import daily
from ticket_assets.drift.daily import daily_reports
from ticket_assets.settings import DRIFT_DISTANCES
from ticket_assets.storage.warehouse import DuckDBFile

FIRST = date(2026, 3, 1)
PER_DAY = {
    0: 4,
    1: 30,
    2: 2,
    4: 25,
    5: 40,
}  # nothing on the fourth day and on the last, the seventh
DAYS = [FIRST + timedelta(days=day) for day in range(7)]
CHANGED = 4  # from this day on, all mail is in another language
NO_HTML = {"first_html_day": date.max}


def mail(days):
    random = np.random.default_rng(0)
    rows = [
        {
            "ticket_id": f"{day:03}{number:03}",
            "received_at": datetime(2026, 3, 1 + day, number % 24),
            "language": "de" if day >= CHANGED else "fr",
            "character_count": int(random.integers(50, 500)),
            "tokens": "imprimante bloquée",
            "category": "printing",
            "category_confidence": float(random.uniform(0.5, 1)),
            "vector": random.normal(size=4).astype(np.float32).tolist(),
        }
        for day, count in days.items()
        for number in range(count)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def champion():
    reference = mail({0: 200}).assign(language="fr", oov_share=0.0)
    reference["vector"] = [np.array(vector, np.float32) for vector in reference["vector"]]
    return SimpleNamespace(
        reference=reference,
        reference_from=None,
        vocabulary={"imprimante": 2, "bloquée": 2},
        training_tickets=pd.DataFrame(
            columns=["ticket_id", "category", "category_confidence", "oov_share"]
        ),
    )


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    return warehouse_of(mail(PER_DAY), tmp_path_factory.mktemp("data"))


def warehouse_of(mail, folder):
    warehouse = DuckDBFile(folder / "warehouse.duckdb")
    with warehouse.transaction() as connection:
        connection.register("mail", mail)
        connection.execute("create schema if not exists tickets")
        connection.execute(
            "create table tickets.clean_tickets as"
            " select ticket_id, received_at, language, character_count, tokens,"
            " ticket_id as text_hash from mail"
        )
        connection.execute(
            "create table tickets.ticket_predictions as"
            " select ticket_id, received_at, category as model_category, category_confidence,"
            " 'auto' as model_decision from mail"
        )
        connection.execute(
            "create table tickets.ticket_embeddings as"
            " select ticket_id, received_at, vector::float[4] as vector from mail"
        )
    return warehouse


def reports(warehouse, champion, days=DAYS, **options):
    return list(
        daily_reports(
            days,
            warehouse=warehouse,
            champion=champion,
            model_version="m1",
            floors=DRIFT_DISTANCES,
            min_tickets=20,
            seed=0,
            **options,
        )
    )


@pytest.mark.slow
def test_every_day_is_compared_with_its_own_window(warehouse, champion):
    compared = reports(warehouse, champion, **NO_HTML)

    assert [report.day for report in compared] == DAYS
    windows = [
        report.metrics[["current_rows", "window_days"]].drop_duplicates().to_numpy().tolist()
        for report in compared
    ]
    # 4 tickets are all there are; the third day reaches back over the second for its 20.
    own = [[4, 1], [30, 1], [32, 2], None, [25, 1], [40, 1], None]
    week = [None, [34, 7], [36, 7], None, [61, 7], [101, 7], None]
    assert windows == [[w for w in pair if w] for pair in zip(own, week, strict=True)]
    assert [report.drifted_metrics for report in compared] == (
        [[]] * CHANGED + [["language"], ["language"], []]
    )


@pytest.mark.slow
def test_the_order_in_which_rows_were_written_changes_no_digit(champion, tmp_path):
    """As after a run that was killed: the next one writes some days anew, behind the others."""
    learnt = mail({9: 120})[["ticket_id", "category", "category_confidence"]]
    champion = SimpleNamespace(
        **{
            **vars(champion),
            "training_tickets": learnt.assign(oov_share=0.0),
            "classifier": SimpleNamespace(
                targets={"category": SimpleNamespace(labels=["printing"], thresholds=[0.5])}
            ),
            "evaluation": SimpleNamespace(target_precision=0.95),
        }
    )
    metrics = []
    for seed in range(5):
        (tmp_path / str(seed)).mkdir()
        rows = mail(PER_DAY).sample(frac=1, random_state=seed)
        warehouse = warehouse_of(rows, tmp_path / str(seed))
        with warehouse.transaction() as connection:
            connection.register("learnt", learnt)
            connection.execute(
                "create table tickets.ticket_labels as select ticket_id, category from learnt"
            )
        compared = reports(warehouse, champion, **NO_HTML)
        metrics.append(pd.concat([report.metrics for report in compared]))

    assert "automatic_errors" in set(metrics[0]["metric"])
    for other in metrics[1:]:
        pd.testing.assert_frame_equal(metrics[0], other, check_exact=True)


@pytest.mark.slow
def test_figures_are_of_the_day_alone(warehouse, champion):
    figures = [
        json.loads(report.json)["figures"] for report in reports(warehouse, champion, **NO_HTML)
    ]

    assert [day["tickets"]["tickets"] for day in figures] == [
        PER_DAY.get(day, 0) for day in range(len(DAYS))
    ]
    assert [day.get("languages") for day in figures] == (
        [{"fr": 1}, {"fr": 1}, {"fr": 1}, None, {"de": 1}, {"de": 1}, None]
    )


def test_windows_do_not_reach_behind_the_change_that_the_reference_begins_with(warehouse, champion):
    since = FIRST + timedelta(days=4)
    reference = champion.reference.assign(language="de")
    moved = SimpleNamespace(**{**vars(champion), "reference": reference, "reference_from": since})

    compared = reports(warehouse, moved, **NO_HTML)

    windows = [report.metrics[["current_rows", "window_days"]] for report in compared]
    assert [rows.drop_duplicates().to_numpy().tolist() for rows in windows] == (
        [[]] * 4 + [[[25, 1]], [[40, 1], [65, 7]], []]
    )
    assert not any(report.drifted for report in compared)


@pytest.mark.slow
def test_reports_are_the_same_whatever_fits_a_page(warehouse, champion, monkeypatch):
    def figures(days=DAYS):
        return [report.json for report in reports(warehouse, champion, days, **NO_HTML)]

    whole = figures()

    for tickets in (1, 40, 70):
        monkeypatch.setattr(daily, "PAGE_TICKETS", tickets)
        assert figures() == whole
    assert [figures([day])[0] for day in DAYS] == whole


@pytest.mark.slow
def test_html_is_rendered_for_drifted_days_and_the_latest_that_has_mail(warehouse, champion):
    def drawn(days, **options):
        compared = reports(warehouse, champion, days, **options)
        return [report.day.day for report in compared if report.html is not None]

    assert drawn(DAYS[:4]) == [3]
    assert drawn(DAYS) == [5, 6]
    assert drawn(DAYS, first_html_day=DAYS[5]) == [6]
    assert drawn(DAYS, first_html_day=DAYS[6]) == []
