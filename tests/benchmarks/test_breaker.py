"""The benchmark of the circuit breaker: what it counts, at a small size."""

import numpy as np

from benchmarks.breaker import delays, false_trips, measure_breaker


def test_labels_that_keep_their_promise_seldom_trip_and_broken_ones_always():
    assert false_trips(0.97, audits=250, years=50) <= 0.05
    assert false_trips(0.5, audits=50, years=5) == 1.0


def test_a_delay_counts_the_audits_after_the_fall():
    after = delays(0.8, falls=100)

    assert 30 <= np.median(after) <= 60
    assert after.min() >= 1
    assert np.median(delays(0.5, falls=20)) < np.median(after)


def test_the_promises_are_lines_with_a_verdict():
    lines = list(measure_breaker(years=20))

    assert [line.met for line in lines if line.wanted] == [True] * 4
