"""Turns scores into calibrated probabilities, and these into thresholds that keep a precision."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax
from scipy.stats import binom, nbinom

from ticket_assets.classification.features import Booleans, Floats, Integers

ALWAYS_REVIEW = 2.0
"""Threshold of a class that is never decided automatically: no probability reaches it."""

GRID_STEP = 0.1
GRID_TOP = 16.0
"""The thresholds that are tried: from the floor on every 0.1 of log-odds, up to 0.9999999."""

START_ERRORS = 4
START_SHARE = 2 / 3
"""The strictest threshold tried has enough predictions to pass with up to four errors, as long as
those are no more than two thirds of all predictions of the class.

Started where only a flawless class can pass, one wrong label among the surest 45 tickets leaves the
class to people for ever: with thresholds from 2,370 tickets of the sample mailbox, 54 % of the
others were automatic instead of 89 %. With up to two errors 88 %, with up to eight 87 %.
"""


def log_loss(scores: Floats, codes: Integers, temperature: float = 1.0) -> float:
    """Mean negative log-probability of the true classes."""
    logs = log_softmax(scores / temperature, axis=1)
    return float(-logs[np.arange(len(codes)), codes].mean())


def fit_temperature(scores: Floats, codes: Integers) -> float:
    """The temperature in [0.01, 100] that minimises the log-loss of softmax(scores / temperature).

    Source: Guo et al., On Calibration of Modern Neural Networks (2017), section 4.2.
    """
    result = minimize_scalar(
        lambda logarithm: log_loss(scores, codes, float(np.exp(logarithm))),
        bounds=(np.log(0.01), np.log(100)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(result.x))


def probabilities(scores: Floats, temperature: float) -> Floats:
    """softmax(scores / temperature), shape as `scores`, rows sum to one."""
    return np.asarray(softmax(scores / temperature, axis=1), dtype=np.float64)


def expected_calibration_error(confidence: Floats, correct: Booleans, bins: int = 10) -> float:
    """Mean distance of confidence and accuracy over equal-width bins, weighted by their rows."""
    table = reliability(confidence, correct, bins)
    rows = sum(count for _, _, count in table)
    return sum(abs(mean - share) * count for mean, share, count in table) / rows if rows else 0.0


def reliability(
    confidence: Floats, correct: Booleans, bins: int = 10
) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, rows) of each non-empty equal-width bin of (0, 1]."""
    positions = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    masks = (positions == position for position in np.unique(positions))
    return [(float(confidence[m].mean()), float(correct[m].mean()), int(m.sum())) for m in masks]


def predictions_needed(errors: int, target_precision: float, precision_risk: float) -> int:
    """The least number of predictions that show the target precision with so many errors.

    That is the least n for which n predictions of a lower precision have more errors with a
    probability of at least 1 - `precision_risk`: 45 without an error at 0.95 and 0.1, 77 with one.
    """
    before_error = nbinom.ppf(1 - precision_risk, errors + 1, 1 - target_precision)
    return int(before_error) + errors + 1


def abstain_thresholds(
    probability: Floats,
    codes: Integers,
    groups: Integers,
    target_precision: float,
    *,
    precision_risk: float,
    confidence_floor: float,
) -> Floats:
    """Per class the least probability from which its predictions are shown to keep the target.

    The chance that the threshold of a class has a lower precision than the target is at most
    `precision_risk`. A class that is not shown to keep it has the threshold `ALWAYS_REVIEW`, and
    no threshold is below `confidence_floor`.

    Source: Angelopoulos et al., Learn then Test (arXiv 2110.01052), with fixed sequence testing
    (Bauer, Multiple testing in clinical trials, 1991). The thresholds of a fixed grid are tested
    from the strictest one down, and the last one before the first failure is taken. If it misses
    the target, then the test of the first threshold that misses it has passed, so no correction
    for the number of tests is due. The smallest threshold of all that pass is the best of many
    tests, and keeps the target less often than any one of them promises.

    A test: of the predictions at or above a fixed threshold, given their number, the errors are
    binomial with the precision there as parameter. The p-value is the probability of so few
    errors, or fewer, if that precision were the target. Where the sequence begins depends on
    numbers of predictions alone, never on which are right. A late beginning says that few
    predictions are sure, so the tests are exact or strict as long as surer predictions are not
    wrong more often; `python -m benchmarks --only thresholds` also tries labels where they are.

    Args:
        probability: of rows that the model has not learnt from, shape (rows, classes).
        codes: the true classes.
        groups: a number per row, shared by copies of a text. They are not independent, so the
            first of each is the one trial, whatever it and the others were predicted as. A group
            that counts as right only if all its tickets are would make more tickets a reason
            against a label.
    """
    first = np.unique(groups, return_index=True)[1]
    probability, codes = probability[first], codes[first]
    grid = _threshold_grid(confidence_floor)
    starts = [
        predictions_needed(errors, target_precision, precision_risk)
        for errors in range(START_ERRORS + 1)
    ]
    predicted = probability.argmax(axis=1)
    thresholds = np.full(probability.shape[1], ALWAYS_REVIEW)
    for code in range(probability.shape[1]):
        rows = predicted == code
        # The strictest threshold that a row reaches; len(grid) where it reaches none.
        reached = np.searchsorted(-grid, -probability[rows, code])
        trials, errors = (
            np.cumsum(np.bincount(counted, minlength=len(grid) + 1)[:-1])
            for counted in (reached, reached[codes[rows] != code])
        )
        affordable = [needed for needed in starts if needed <= START_SHARE * trials[-1]]
        start = np.searchsorted(trials, max(affordable, default=starts[0]))
        passed = binom.cdf(errors, trials, 1 - target_precision) <= precision_risk
        passes = np.cumprod(passed[start:]).sum()
        if passes:
            thresholds[code] = grid[start + passes - 1]
    return thresholds


def without_least_sure(thresholds: Floats, probability: Floats, share: float) -> Floats:
    """The thresholds, but for the least sure `share` of what they make automatic.

    Correctness is not looked at, and each threshold stays or is stricter: all stricter ones that
    were tested have passed, and the chance that any of them misses the target is at most the risk.

    Args:
        probability: of rows that the model has not learnt from, shape (rows, classes).
    """
    predicted = probability.argmax(axis=1)
    confidence = probability[np.arange(len(predicted)), predicted]
    automatic = confidence[confidence >= thresholds[predicted]]
    floor = np.quantile(automatic, share, method="lower") if len(automatic) else 0.0
    return np.asarray(np.maximum(thresholds, floor))


def _threshold_grid(floor: float) -> Floats:
    """The thresholds that are tried, from the strictest to the floor."""
    grid = expit(np.arange(logit(floor), GRID_TOP, GRID_STEP))[::-1]
    grid[-1] = floor
    return np.asarray(grid)
