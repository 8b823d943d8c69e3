"""The candidate classifiers: linear experts on terms, on vectors, on both, and their average."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from ticket_assets.classification.features import Features, Floats, Integers

CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "embeddings": ("vectors",),
    "tfidf": ("terms",),
    "hybrid": ("joined",),
    "hybrid_impact_urgency": ("joined_impact_urgency",),
    "average": ("vectors", "terms"),
}
"""Each candidate with its experts. `average` is the mean of its experts' calibrated probabilities
and costs no fit of its own.

Nearest labelled neighbours are no candidate: over five splits of two public desks they stayed 0.01
to 0.05 of macro-F1 behind `hybrid`. Averaged with it they moved it by less than its spread, and the
model would carry every training vector.
"""
PRIORITY_ONLY = ("hybrid_impact_urgency",)
"""Impact and urgency say nothing about the topic, so only the priority has these candidates."""


def candidates_for(target: str) -> tuple[str, ...]:
    """The candidates that are compared for a target."""
    return tuple(name for name in CANDIDATES if target == "priority" or name not in PRIORITY_ONLY)


def experts_for(target: str) -> tuple[str, ...]:
    """The experts of these candidates, each once."""
    return tuple(dict.fromkeys(e for name in candidates_for(target) for e in CANDIDATES[name]))


@dataclass(frozen=True)
class Expert:
    """A fitted linear classifier of class codes 0 … k-1, and what it reads."""

    reads: str
    estimator: Any

    def scores(self, features: Features, class_count: int) -> Floats:
        """Decision scores, shape (rows, class_count), larger is likelier.

        A class without training tickets scores one below the row's lowest: it is never chosen.
        """
        scores = self.estimator.decision_function(_inputs(self.reads, features))
        if scores.ndim == 1:
            # Halves, so that a softmax of the two gives back the sigmoid of the binary score.
            scores = np.column_stack([-scores / 2, scores / 2])
        complete = np.repeat(scores.min(axis=1, keepdims=True) - 1.0, class_count, axis=1)
        complete[:, self.estimator.classes_] = scores
        return np.asarray(complete, dtype=np.float64)


def fit_expert(reads: str, features: Features, codes: Integers, seed: int) -> Expert:
    """An expert fitted on class codes; balanced class weights keep rare categories in sight.

    Raises:
        ValueError: all rows are of one class.
    """
    estimator = (
        # C=30 on vectors of unit mean square: 10 to 100 scored alike on two public desks.
        LogisticRegression(C=30.0, class_weight="balanced", max_iter=200, tol=1e-3)
        if reads == "vectors"
        # The tolerance of 0.1 scored as well as the default 1e-4, in half the time.
        else LinearSVC(C=0.5, class_weight="balanced", tol=0.1, random_state=seed)
    )
    with warnings.catch_warnings():
        # An optimiser that stops early regularises; the scores judge the result.
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(_inputs(reads, features), codes)
    estimator.coef_ = estimator.coef_.astype(np.float32)
    estimator.intercept_ = np.asarray(estimator.intercept_, dtype=np.float32)
    return Expert(reads, estimator)


def average_probabilities(
    scores: Mapping[str, Floats], temperatures: Mapping[str, float]
) -> Floats:
    """Mean of the experts' probabilities, each softened by its own temperature."""
    probability = [softmax(scores[name] / temperatures[name], axis=1) for name in scores]
    return np.asarray(np.mean(probability, axis=0), dtype=np.float64)


def combined_scores(scores: Mapping[str, Floats], temperatures: Mapping[str, float]) -> Floats:
    """Scores of a candidate: its only expert's, or the log of its experts' mean probability."""
    if len(scores) == 1:
        return next(iter(scores.values()))
    return np.asarray(np.log(np.maximum(average_probabilities(scores, temperatures), 1e-12)))


def _inputs(reads: str, features: Features) -> Any:
    if reads == "vectors":
        return features.vectors
    if reads == "terms":
        return features.terms
    return features.joined(with_impact_urgency=reads == "joined_impact_urgency")
