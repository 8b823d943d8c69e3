"""Precision of automatic tickets: estimated from confidences, and realised once labels arrive."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from ticket_assets.drift.estimated_precision import (
    ENOUGH_AUDITS,
    PrecisionEstimator,
    precision_estimator,
    realised_precision,
)


def outcomes(rows, seed, hard=0.5, overconfidence=0.0):
    """Confidences of automatic tickets, and whether they were right; `hard` moves the mail."""
    random = np.random.default_rng(seed)
    odds = random.normal(4 - 2 * hard, 1, rows)
    confidence = 1 / (1 + np.exp(-odds - overconfidence))
    return confidence, random.random(rows) < 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("hard", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("overconfidence", [-0.7, 0.0, 0.7])
def test_estimate_follows_easier_and_harder_mail_and_its_interval_holds(hard, overconfidence):
    errors, inside = [], 0
    for seed in range(40):
        learnt = outcomes(1500, 100 + seed, overconfidence=overconfidence)
        estimator = PrecisionEstimator.fit(*learnt)
        confidence, right = outcomes(500, seed, hard, overconfidence)

        estimate = estimator.estimate(confidence)

        errors.append(estimate.precision - right.mean())
        inside += estimate.low <= right.mean() <= estimate.high
    assert abs(np.mean(errors)) < 0.01
    assert inside >= 0.8 * 40


def test_few_tickets_have_a_wide_interval_within_zero_and_one():
    estimator = PrecisionEstimator.fit(*outcomes(400, 1))

    few, many = (estimator.estimate(outcomes(rows, 2)[0]) for rows in (5, 2000))

    assert 0 <= few.low < many.low < many.precision < many.high < few.high <= 1
    assert few.tickets == 5


def test_too_few_training_tickets_give_no_estimate_and_faultless_ones_a_finite_one():
    assert PrecisionEstimator.fit(*outcomes(99, 1)) is None

    faultless = PrecisionEstimator.fit(np.full(400, 0.97), np.ones(400, dtype=bool))

    assert 0.99 < faultless.estimate(np.full(50, 0.97)).precision < 1


def test_only_tickets_that_would_have_been_automatic_calibrate():
    learnt = pd.DataFrame(
        {
            "ticket_id": [f"t{row}" for row in range(600)],
            "category": ["network", "printing", "printing"] * 200,
            "category_confidence": [0.95, 0.95, 0.6] * 200,
        }
    )
    model = SimpleNamespace(labels=("network", "printing"), thresholds=np.array([2.0, 0.9]))
    champion = SimpleNamespace(
        training_tickets=learnt,
        classifier=SimpleNamespace(targets={"category": model}),
        evaluation=SimpleNamespace(target_precision=0.9),
    )
    given = pd.Series(["printing"] * 540, index=learnt["ticket_id"][:540])

    estimator = precision_estimator(champion, given)

    # `network` always waits for a person, as do unsure tickets; 60 tickets have lost their label.
    assert (estimator.tickets, estimator.target) == (180, 0.9)
    assert precision_estimator(champion, given[:60]) is None


def test_realised_precision_is_weighted_by_the_chance_of_a_label():
    random = np.random.default_rng(3)
    right = random.random(20_000) < 0.95
    chance = np.where(right, 0.05, 0.4)  # people label what went wrong
    labelled = random.random(20_000) < chance

    biased = realised_precision(right[labelled])
    weighted = realised_precision(right[labelled], chance[labelled])

    assert biased.high < 0.9
    assert weighted.low < 0.95 < weighted.high
    assert biased.tickets == labelled.sum()


def test_so_many_audits_tell_a_fall_from_chance():
    least = next(
        wrong
        for wrong in range(ENOUGH_AUDITS)
        if realised_precision(np.arange(ENOUGH_AUDITS) >= wrong).high < 0.95
    )

    told = {
        precision: binom.sf(least - 1, ENOUGH_AUDITS, 1 - precision) for precision in (0.85, 0.97)
    }

    assert least == 5
    assert told == pytest.approx({0.85: 0.89, 0.97: 0.02}, abs=0.005)


def test_a_forecast_of_few_tickets_may_be_all_right_and_one_of_many_is_as_sure_as_the_estimate():
    confidence, correct = outcomes(2000, 3)
    estimator = PrecisionEstimator.fit(confidence, correct)

    estimate = estimator.estimate(confidence)
    few, same, many = (estimator.forecast(confidence, n) for n in (5, 2000, 20_000))

    assert few.precision == same.precision == many.precision == estimate.precision
    assert few.high == 1
    assert (same.low, same.high) == pytest.approx((estimate.low, estimate.high), abs=0.003)
    assert same.low < many.low < many.precision < many.high < same.high
