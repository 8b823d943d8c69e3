import numpy as np
import pytest

from ticket_assets.classification.calibration import (
    ALWAYS_REVIEW,
    abstain_thresholds,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    precision_lower_bound,
    probabilities,
    reliability,
)


def test_temperature_turns_a_score_of_two_into_the_observed_three_quarters():
    # Three of four rows are right: the best probability is 0.75, so 2 / T = ln(0.75 / 0.25).
    scores = np.array([[2.0, 0.0]] * 4)
    codes = np.array([0, 0, 0, 1])

    temperature = fit_temperature(scores, codes)

    assert temperature == pytest.approx(2 / np.log(3), abs=1e-3)
    assert probabilities(scores, temperature)[0, 0] == pytest.approx(0.75, abs=1e-3)


def test_log_loss_of_equal_scores_is_the_logarithm_of_the_class_count():
    assert log_loss(np.zeros((5, 4)), np.array([0, 1, 2, 3, 0])) == pytest.approx(np.log(4))


def test_calibration_error_weighs_each_bin_by_its_rows():
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False])

    # Bins (0.9, 1]: |0.95 - 1.0| over 2 rows; (0.5, 0.6]: |0.55 - 0.5| over 2 rows.
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.05)
    assert reliability(confidence, correct) == [
        (pytest.approx(0.55), 0.5, 2),
        (pytest.approx(0.95), 1.0, 2),
    ]


def test_a_confidence_of_one_falls_in_the_last_bin():
    assert reliability(np.array([1.0]), np.array([True])) == [(1.0, 1.0, 1)]


def test_lower_bound_without_errors_is_the_root_of_what_is_left_to_chance():
    # All n right: bound^n = 1 - confidence.
    bound = precision_lower_bound(np.array([10, 0]), np.array([10, 10]), 0.8)

    assert bound == pytest.approx([0.2 ** (1 / 10), 0.0])


@pytest.mark.parametrize(("rows", "threshold"), [(31, ALWAYS_REVIEW), (32, 0.9)])
def test_a_class_needs_32_flawless_predictions_to_promise_95_percent(rows, threshold):
    probability = np.array([[0.9, 0.1]] * rows)

    thresholds = abstain_thresholds(probability, np.zeros(rows, dtype=int), 0.95)

    assert thresholds.tolist() == [threshold, ALWAYS_REVIEW]


def test_threshold_stops_above_the_errors():
    # 40 right at 0.9, then 10 wrong at 0.6 predicted as the same class.
    probability = np.array([[0.9, 0.1]] * 40 + [[0.6, 0.4]] * 10)
    codes = np.array([0] * 40 + [1] * 10)

    assert abstain_thresholds(probability, codes, 0.95).tolist() == [0.9, ALWAYS_REVIEW]


def test_equal_probabilities_are_never_split():
    # At 0.9 stand 40 right and 10 wrong: no threshold lets only the right ones through.
    probability = np.array([[0.9, 0.1]] * 50)
    codes = np.array([0] * 40 + [1] * 10)

    assert abstain_thresholds(probability, codes, 0.95)[0] == ALWAYS_REVIEW


def test_an_error_at_the_top_does_not_close_a_class_that_recovers():
    values = np.linspace(0.99, 0.6, 200)
    probability = np.column_stack([values, 1 - values])
    codes = np.zeros(200, dtype=int)
    codes[0] = 1

    assert abstain_thresholds(probability, codes, 0.95)[0] == pytest.approx(0.6)


def test_automatic_decisions_keep_the_target_on_new_data_from_the_same_source():
    rng = np.random.default_rng(0)

    def draw(rows):
        likely = rng.uniform(0.5, 1.0, rows)
        return np.column_stack([likely, 1 - likely]), (rng.random(rows) > likely).astype(int)

    threshold = abstain_thresholds(*draw(2000), 0.9)[0]
    probability, codes = draw(20000)
    automatic = probability[:, 0] >= threshold

    assert 0.1 < automatic.mean() < 0.9
    assert (codes[automatic] == 0).mean() >= 0.9
