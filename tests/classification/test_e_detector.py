"""The e-detector rises where errors have become more than promised, and seldom otherwise."""

from itertools import product

import numpy as np
import pytest

from ticket_assets.classification.e_detector import ODDS, THRESHOLD, detector


@pytest.mark.parametrize("target", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("share_of_promised_errors", [0.0, 0.5, 1.0])
def test_under_the_promise_it_is_a_supermartingale_but_for_the_bet_that_each_outcome_adds(
    target, share_of_promised_errors
):
    """By all sequences of ten outcomes: given the past, the mean of the next value is at most the
    present one and 1."""
    chance = (1 - target) * share_of_promised_errors
    for past in product([False, True], repeat=9):
        present = detector(np.array(past), target)[-1]
        ends = [detector(np.array([*past, error]), target)[-1] for error in (False, True)]
        mean = (1 - chance) * ends[0] + chance * ends[1]
        assert mean <= (present + 1) * (1 + 1e-12)
        if share_of_promised_errors == 1.0:
            assert mean == pytest.approx(present + 1)


def test_its_mean_is_at_most_the_number_of_outcomes():
    means = np.zeros(8)
    for errors in product([False, True], repeat=8):
        chance = 0.05 ** sum(errors) * 0.95 ** (8 - sum(errors))
        means += chance * detector(np.array(errors), 0.95)

    assert means == pytest.approx(np.arange(1, 9))


def test_one_error_multiplies_the_first_bets():
    right = [1 / (0.95 + 0.05 * odds) for odds in ODDS]

    values = detector(np.array([True, False]), 0.95)

    first = [odds * factor for odds, factor in zip(ODDS, right, strict=True)]
    assert values[0] == pytest.approx(np.mean(first))
    second = [(value + 1) * factor for value, factor in zip(first, right, strict=True)]
    assert values[1] == pytest.approx(np.mean(second))


@pytest.mark.slow
def test_a_fall_to_080_is_noticed_within_60_outcomes_and_097_is_no_fall():
    rng = np.random.default_rng(0)
    delays = []
    for _ in range(200):
        errors = np.concatenate([rng.random(100) < 0.03, rng.random(300) < 0.2])
        values = detector(errors, 0.95)
        assert values[:100].max() < THRESHOLD
        delays.append(int(np.argmax(values >= THRESHOLD)) - 100 + 1)

    assert 30 <= np.median(delays) <= 60


def test_without_an_outcome_there_is_no_value():
    assert detector(np.zeros(0, dtype=bool), 0.95).tolist() == []
