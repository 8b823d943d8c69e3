"""Turns scores into calibrated probabilities, and these into thresholds that keep a precision."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import beta

from ticket_assets.classification.features import Booleans, Floats, Integers

ALWAYS_REVIEW = 2.0
"""Threshold of a class that is never decided automatically: no probability reaches it."""

THRESHOLD_CONFIDENCE = 0.8
"""One-sided confidence of the precision bound behind a threshold.

At a target precision of 95 % a class then needs 32 out-of-fold predictions without a single error
(0.95^n <= 0.2); 59 at a confidence of 95 %, 14 at 50 %. Measured over 40 random splits of 2,100
tickets of 8 categories, thresholds from 1,680 of them: at 50 % the other tickets kept the target in
70 % of the splits (coverage 97 %), at 80 % in 93 % of them (coverage 95 %), at 95 % in 97 % (81 %).
With 1,050 tickets the step from 80 % to 95 % would cost a third of the coverage, and four classes
in ten would always wait for a person.
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


def precision_lower_bound(correct: Integers, total: Integers, confidence: float) -> Floats:
    """One-sided Clopper-Pearson lower bound of correct / total; 0 where nothing is correct."""
    bound = beta.ppf(1 - confidence, np.maximum(correct, 1), total - correct + 1)
    return np.asarray(np.where(correct > 0, bound, 0.0), dtype=np.float64)


def abstain_thresholds(
    probability: Floats,
    codes: Integers,
    target_precision: float,
    confidence: float = THRESHOLD_CONFIDENCE,
) -> Floats:
    """Per class the smallest probability from which its predictions keep the target precision.

    "Keep" means that the Clopper-Pearson lower bound of the precision among the predictions of the
    class at or above the threshold reaches the target. Feed it out-of-fold probabilities, shape
    (rows, classes). A class that never gets there has the threshold `ALWAYS_REVIEW`.
    """
    predicted = probability.argmax(axis=1)
    thresholds = np.full(probability.shape[1], ALWAYS_REVIEW)
    for code in range(probability.shape[1]):
        rows = np.flatnonzero(predicted == code)
        rows = rows[np.argsort(-probability[rows, code], kind="stable")]
        values = probability[rows, code]
        correct = np.cumsum(codes[rows] == code)
        total = np.arange(1, len(values) + 1)
        # Equal probabilities stand or fall together: a cut is possible after the last of them.
        possible = np.append(values[1:] < values[:-1], True)[: len(values)]
        keeps_target = precision_lower_bound(correct, total, confidence) >= target_precision
        cuts = np.flatnonzero(possible & keeps_target)
        if len(cuts):
            thresholds[code] = values[cuts[-1]]
    return thresholds
