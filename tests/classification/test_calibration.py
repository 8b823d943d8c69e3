import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.classification.calibration import (
    ALWAYS_REVIEW,
    abstain_thresholds,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    predictions_needed,
    probabilities,
    reliability,
    without_least_sure,
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


def thresholds_of(confidence, correct, groups=None, floor=0.5):
    """Thresholds of two classes; all rows are predicted as the first one."""
    probability = np.column_stack([confidence, 1 - np.asarray(confidence)])
    codes = np.where(correct, 0, 1)
    return abstain_thresholds(
        probability,
        codes,
        np.arange(len(codes)) if groups is None else np.asarray(groups),
        0.95,
        precision_risk=0.1,
        confidence_floor=floor,
    )


@pytest.mark.parametrize(
    ("errors", "target", "risk", "needed"),
    [
        # Without errors target^n <= risk: 0.95^45 = 0.0994, 0.95^44 = 0.1047.
        (0, 0.95, 0.1, 45),
        (0, 0.95, 0.2, 32),
        (0, 0.9, 0.1, 22),
        # 0.95^77 + 77 * 0.05 * 0.95^76 = 0.0974, with 76 it is 0.1013.
        (1, 0.95, 0.1, 77),
    ],
)
def test_predictions_needed_are_the_least_that_leave_the_rest_to_the_risk(
    errors, target, risk, needed
):
    assert predictions_needed(errors, target, risk) == needed


@pytest.mark.parametrize(("rows", "threshold"), [(44, ALWAYS_REVIEW), (45, 0.5)])
def test_a_class_needs_45_flawless_predictions_to_promise_95_percent(rows, threshold):
    thresholds = thresholds_of(np.full(rows, 0.9), np.ones(rows, dtype=bool))

    assert thresholds.tolist() == [threshold, ALWAYS_REVIEW]


def test_nothing_is_automatic_below_the_floor():
    confidence, correct = np.full(50, 0.79), np.ones(50, dtype=bool)

    assert thresholds_of(confidence, correct, floor=0.75)[0] == 0.75
    assert thresholds_of(confidence, correct, floor=0.8)[0] == ALWAYS_REVIEW


def test_the_sequence_stops_at_the_first_failure_even_where_a_later_test_would_pass():
    # Given 45 right at 0.99, where the tests begin, an error at 0.9 and 19 right at 0.8
    confidence = np.array([0.99] * 45 + [0.9] + [0.8] * 19)
    correct = np.arange(65) != 45

    # Then of the grid 0.9002, 0.8909, ... the first threshold below 0.9 has 46 predictions with an
    # error, which needs 77.
    assert thresholds_of(confidence, correct)[0] == pytest.approx(0.90024951)


@pytest.mark.parametrize(("rows", "threshold"), [(115, ALWAYS_REVIEW), (116, 0.5)])
def test_an_error_among_the_first_is_made_up_for_where_two_thirds_can(rows, threshold):
    # Given an error at the very top, and 77 that show the target with an error
    confidence = np.array([0.99] * 46 + [0.9] * (rows - 46))

    assert thresholds_of(confidence, np.arange(rows) > 0)[0] == threshold


def test_equal_probabilities_are_never_split():
    # At 0.9 stand 90 right and 10 wrong: no threshold lets only the right ones through.
    assert thresholds_of(np.full(100, 0.9), np.arange(100) < 90)[0] == ALWAYS_REVIEW


def test_copies_of_a_wording_are_one_trial():
    # Given 44 wordings, one of them sent twenty times, or 45
    once, copied = np.arange(44), np.array([0] * 20 + list(range(1, 44)))

    for groups, threshold in ((once, ALWAYS_REVIEW), (copied, ALWAYS_REVIEW), (np.arange(45), 0.5)):
        rows = len(groups)
        thresholds = thresholds_of(np.full(rows, 0.9), np.ones(rows, dtype=bool), groups)
        assert thresholds[0] == threshold


def test_the_first_ticket_of_a_wording_stands_for_all():
    # Given 50 wordings in ten tickets each, and one error
    groups = np.repeat(np.arange(50), 10)
    first_wrong, later_wrong = (np.arange(500) != row for row in (10, 17))

    assert thresholds_of(np.full(500, 0.9), first_wrong, groups)[0] == ALWAYS_REVIEW
    assert thresholds_of(np.full(500, 0.9), later_wrong, groups)[0] == 0.5


@given(st.data())
def test_another_error_never_lowers_a_threshold(data):
    rows = data.draw(st.integers(45, 200))
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.5, 1, rows)
    correct = random.random(rows) < data.draw(st.sampled_from([0.9, 0.97, 0.99, 1]))
    groups = random.integers(0, rows, rows) if data.draw(st.booleans()) else np.arange(rows)
    error = data.draw(st.integers(0, rows - 1))

    before = thresholds_of(confidence, correct, groups)[0]
    after = thresholds_of(confidence, correct & (np.arange(rows) != error), groups)[0]

    assert after >= before


@pytest.mark.slow
def test_a_class_just_below_the_target_is_automatic_no_more_often_than_the_risk():
    # Given 1,000 desks with 400 tickets of a label that is right 94 % of the time, sure or not: any
    # threshold breaks the promise. The smallest one of all that pass at 80 % confidence, the former
    # rule, is found on 30 % of these desks.
    random = np.random.default_rng(0)
    broken = sum(
        thresholds_of(random.uniform(0.5, 1, 400), random.random(400) < 0.94)[0] < ALWAYS_REVIEW
        for _ in range(1000)
    )

    assert broken / 1000 <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 1000)


def test_automatic_decisions_keep_the_target_on_new_data_from_the_same_source():
    rng = np.random.default_rng(0)

    def draw(rows):
        likely = rng.uniform(0.5, 1.0, rows)
        return likely, rng.random(rows) < likely

    threshold = thresholds_of(*draw(2000))[0]
    confidence, correct = draw(20000)
    automatic = confidence >= threshold

    assert 0.05 < automatic.mean() < 0.2
    assert correct[automatic].mean() >= 0.95


def test_the_least_sure_twentieth_of_what_would_be_automatic_goes_to_a_person():
    # Given 100 automatic tickets of two classes, and 50 of a third that never is
    confidence = np.concatenate([np.linspace(0.7, 0.9, 60), np.linspace(0.9, 0.99, 40)])
    probability = np.zeros((150, 3))
    probability[:60, 0], probability[60:100, 1] = confidence[:60], confidence[60:]
    probability[100:, 2] = 0.61

    thresholds = without_least_sure(np.array([0.6, 0.9, ALWAYS_REVIEW]), probability, 0.05)

    assert (confidence[:60] >= thresholds[0]).sum() == 56  # "lower": the twentieth one stays
    assert thresholds[1:].tolist() == [0.9, ALWAYS_REVIEW]


def test_nothing_is_taken_away_where_nothing_is_automatic():
    thresholds = np.full(2, ALWAYS_REVIEW)

    assert (
        without_least_sure(thresholds, np.full((3, 2), 0.5), 0.05).tolist() == thresholds.tolist()
    )
