"""The pictures and the table of a day's drift."""

import io
from datetime import date

import numpy as np
import pandas as pd
import pytest

from ticket_assets.drift.plots import drift_history_png, drift_markdown, drift_png
from ticket_assets.drift.report import DriftReport

METRICS = pd.DataFrame(
    {
        "received_at": pd.Timestamp("2026-03-04"),
        "metric": ["language", "oov_share"],
        "distance": [0.0512, 0.8],
        "threshold": [0.2, 0.4],
        "drifted": [False, True],
        "current_rows": [40, 38],
        "window_days": [1, 1],
    }
)
RED = np.array([0xD6, 0x27, 0x28]) / 255


def has_red(png):
    import matplotlib.image

    pixels = matplotlib.image.imread(io.BytesIO(png), format="png")[:, :, :3]
    return bool((np.abs(pixels - RED).max(axis=2) < 0.01).any())


@pytest.mark.slow
def test_chart_of_a_day_shows_drifted_metrics_in_red():
    assert has_red(drift_png(METRICS))
    assert not has_red(drift_png(METRICS.assign(drifted=False)))


@pytest.mark.slow
def test_history_draws_every_day():
    days = pd.concat(
        [
            METRICS.assign(received_at=pd.Timestamp(2026, 3, day), distance=day / 10)
            for day in (3, 1, 2)
        ]
    )

    picture = drift_history_png(days)

    assert picture.startswith(b"\x89PNG")
    assert picture == drift_history_png(days.sort_values("received_at", kind="stable"))
    assert picture != drift_history_png(days.iloc[:4])


def test_pictures_of_no_metrics_are_pictures():
    assert drift_png(METRICS.iloc[:0]).startswith(b"\x89PNG")
    assert drift_history_png(METRICS.iloc[:0]).startswith(b"\x89PNG")


def test_markdown_table_marks_what_drifted():
    assert drift_markdown(DriftReport(date(2026, 3, 4), METRICS, "{}", None)).splitlines() == [
        "| metric | distance | threshold | drifted | tickets |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| language | 0.051 | 0.200 | no | 40 |",
        "| **oov_share** | 0.800 | 0.400 | yes | 38 |",
    ]


def test_metrics_of_the_week_are_told_from_those_of_the_day():
    week = METRICS.assign(window_days=7, current_rows=200)

    lines = drift_markdown(
        DriftReport(date(2026, 3, 4), pd.concat([METRICS, week]), "{}", None, "A note.")
    ).splitlines()

    assert lines[4:] == [
        "| language of the week | 0.051 | 0.200 | no | 200 |",
        "| **oov_share of the week** | 0.800 | 0.400 | yes | 200 |",
        "",
        "A note.",
    ]


def test_markdown_of_an_empty_day_says_so():
    report = DriftReport(date(2026, 3, 4), METRICS.iloc[:0], "{}", None)

    assert drift_markdown(report) == "No tickets on 2026-03-04: nothing to compare."
