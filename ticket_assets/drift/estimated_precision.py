"""The precision of automatic tickets: estimated before people label them, and as they label them.

The estimate is CBPE (confidence-based performance estimation): the mean calibrated probability that
a decision is right. It follows a change of the mail, easier or harder tickets, and is blind to a
change of meanings: where the same text now belongs to another category, the classifier is as sure
as before. Only labels show that.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import beta, betabinom

from ticket_assets.classification.decisions import AUDIT
from ticket_assets.classification.features import Booleans, Floats
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.storage.warehouse import Warehouse

INTERVAL = 0.9
LEAST_CALIBRATED = 100
"""Automatic training tickets below which no estimate is made: their errors are too few."""
ENOUGH_AUDITS = 50
"""From so many on audits alone are judged. Against a target of 0.95 that takes five wrong ones:
seen of a precision of 0.85 in 89 %, of 0.97 in 2 %."""


@dataclass(frozen=True)
class Precision:
    """A precision with the interval that holds it in 90 % of the cases."""

    tickets: int
    precision: float
    low: float
    high: float


@dataclass(frozen=True)
class PrecisionEstimator:
    """Confidences shifted so that they are right on average on tickets that were not learnt from.

    `shift` is added to the log-odds of a confidence; it comes from so many `tickets`. `target` is
    the precision that automatic labels must keep.
    """

    target: float

    tickets: int
    shift: float
    standard_error: float

    @classmethod
    def fit(
        cls, confidence: Floats, correct: Booleans, target: float = 0.95
    ) -> PrecisionEstimator | None:
        """From out-of-fold confidences of tickets that would have been automatic, and whether their
        labels were right; None where there are fewer than 100."""
        if len(confidence) < LEAST_CALIBRATED:
            return None
        odds = _log_odds(confidence)
        # One right and one wrong more keep the shift finite where all are right.
        wanted = (correct.sum() + 1) / (len(correct) + 2)
        shift = brentq(lambda shift: expit(odds + shift).mean() - wanted, -20, 20)
        probability = expit(odds + shift)
        standard_error = 1 / np.sqrt((probability * (1 - probability)).sum())
        return cls(target, len(odds), float(shift), float(standard_error))

    def estimate(self, confidence: Floats) -> Precision:
        """The precision that automatic tickets with these confidences have; at least one ticket.

        The interval is of the share that will turn out right: it holds the chance of so many
        outcomes and that of the shift.
        """
        probability = expit(_log_odds(confidence) + self.shift)
        outcomes = probability * (1 - probability)
        mean = float(probability.mean())
        variance = (
            outcomes.sum() / len(outcomes) ** 2 + (outcomes.mean() * self.standard_error) ** 2
        )
        return Precision(len(confidence), mean, *_beta_interval(mean, float(variance)))

    def forecast(self, confidence: Floats, tickets: float) -> Precision:
        """The precision of so many other tickets like these; at least one, and one of these.

        The interval is of the share that will turn out right. Few outcomes are often all right, so
        they are counted: a binomial number whose chance has the beta distribution of the shift.
        """
        probability = expit(_log_odds(confidence) + self.shift)
        mean = float(probability.mean())
        outcomes = probability * (1 - probability)
        strength = _beta_strength(mean, float((outcomes.mean() * self.standard_error) ** 2))
        count = max(1, round(tickets))
        right = np.arange(count + 1)
        # Not by its ppf, which takes 0.3 s for 33,000 tickets.
        chances = betabinom.pmf(right, count, mean * strength, (1 - mean) * strength).cumsum()
        low, high = np.searchsorted(chances, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
        return Precision(len(confidence), mean, float(low / count), float(min(high / count, 1)))


def precision_estimator(
    champion: TrainedClassifier, given: pd.Series[Any]
) -> PrecisionEstimator | None:
    """The estimator of a champion, from what was recorded out of fold of its training tickets.

    Args:
        given: the category that a person gave, by ticket_id.
    """
    learnt = champion.training_tickets.set_index("ticket_id").join(given.rename("given"))
    learnt = learnt.dropna(subset="given")
    if len(learnt) < LEAST_CALIBRATED:
        return None
    model = champion.classifier.targets["category"]
    # Of categories that were merged since the training each has its own: the strictest.
    thresholds = dict(sorted(zip(model.labels, model.thresholds, strict=True), key=itemgetter(1)))
    automatic = learnt[learnt["category_confidence"] >= learnt["category"].map(thresholds)]
    correct = automatic["category"] == automatic["given"]
    return PrecisionEstimator.fit(
        automatic["category_confidence"].to_numpy(),
        correct.to_numpy(),
        champion.evaluation.target_precision,
    )


def labels_of(champion: TrainedClassifier, warehouse: Warehouse) -> pd.Series[Any]:
    """The present categories of a champion's training tickets, by ticket_id."""
    if champion.training_tickets.empty:
        return pd.Series(dtype=object)
    rows = warehouse.frame(
        "select ticket_id, l.category from ticket_labels l"
        " join (select distinct ticket_id from learnt) using (ticket_id)",
        frames={"learnt": champion.training_tickets[["ticket_id"]]},
    )
    return rows.set_index("ticket_id")["category"]


def realised_precision(correct: Booleans, chance_of_label: Floats | None = None) -> Precision:
    """The precision of automatic tickets that got a label later; at least one ticket.

    People rather label what went wrong, so without `chance_of_label`, the probability with which
    each of the tickets was chosen to be labelled, the figure lies below the true precision.
    """
    weights = np.ones(len(correct)) if chance_of_label is None else 1 / chance_of_label
    share = weights / weights.sum()
    # As if so many equal weights had been counted (Kish), one right and one wrong beside them.
    count = 1 / np.square(share).sum()
    right = float((share * correct).sum()) * count
    low, high = beta.ppf([(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], right + 1, count - right + 1)
    return Precision(len(correct), float(right / count), float(low), float(high))


def labelled_since(champion: TrainedClassifier, warehouse: Warehouse) -> pd.DataFrame:
    """The tickets that the model had decided without having learnt from them, and that a person
    labelled.

    Returns:
        category: the predicted one; confidence; correct: whether the two categories are the same;
        chance_of_label: the labelled share of the automatic tickets of the same predicted category
        that are as sure, above or below its median. What people look at more than at other mail
        then counts less (post-stratification); within such a group they may still prefer what went
        wrong. is_audit: whether chance had the person look.
    """
    return warehouse.frame(
        "with automatic as (select model_category, category_confidence as confidence,"
        " l.category as given, category_confidence >= median(category_confidence)"
        " over (partition by model_category) as is_surer,"
        " coalesce(former_decision = ?, false) as is_audit"
        " from ticket_predictions p left join ticket_labels l using (ticket_id)"
        " where model_decision = 'auto' and ticket_id not in (select ticket_id from learnt))"
        " select model_category as category, confidence, model_category = given as correct,"
        " count(given) over alike / count(*) over alike as chance_of_label, is_audit"
        " from automatic window alike as (partition by model_category, is_surer)"
        # In one order: sums differ in their last digits by the order of what is added.
        " qualify given is not null order by all",
        [AUDIT],
        frames={"learnt": champion.training_tickets[["ticket_id"]]},
    )


def _log_odds(confidence: Floats) -> Floats:
    return np.asarray(logit(np.clip(confidence, 1e-6, 1 - 1e-6)))


def _beta_strength(mean: float, variance: float) -> float:
    """The sum of the two parameters of the beta distribution with this mean and variance."""
    return mean * (1 - mean) / variance - 1


def _beta_interval(mean: float, variance: float) -> tuple[float, float]:
    """The interval of the beta distribution with this mean and variance: it stays within 0 to 1."""
    strength = _beta_strength(mean, variance)
    low, high = beta.ppf(
        [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], mean * strength, (1 - mean) * strength
    )
    return float(low), float(high)
