"""Forecasts are held against what came, window by window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.drift import Mail
from benchmarks.simulation import FIRST_WINDOW, STEP, Forecast, forecast_lines, forecasts
from tests.classification.conftest import bag_vectors, make_tickets


def test_what_lay_within_the_intervals_is_counted():
    came = np.array([True, True, True, False])
    within, outside = Forecast.of(0.7, 0.6, 0.8, came), Forecast.of(0.9, 0.8, 1.0, came)

    share, *others = forecast_lines({0.8: [within] * 9 + [outside]}, {})

    assert (share.value, share.met) == ("0.9", True)
    assert "of 10 windows (in the mean 75.0%, 6.0% off, interval of 20.0%)" in share.figure
    assert {line.value for line in others} == {"no forecast"}


@pytest.mark.slow
def test_a_stream_that_stays_as_it_is_comes_as_forecast():
    tickets = make_tickets(900)
    days = np.linspace(0, FIRST_WINDOW + STEP + 30, len(tickets))
    tickets["received_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(days, unit="D")
    mail = Mail(tickets, bag_vectors(tickets["text"].tolist()))

    shares, precisions = forecasts([mail, mail], windows=2)

    assert len(shares) == 20
    assert {len(windows) for windows in shares.values()} == {4}
    assert all(one.low <= one.expected <= one.high for one in shares[0.8])
    assert all(0.8 < one.realised <= 1 for one in precisions[0.8])
