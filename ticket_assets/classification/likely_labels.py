"""The few categories that hold the right one of an unsure ticket, so that a person picks one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ticket_assets.classification.features import Floats, Integers

COVERAGE = 0.95
MOST_LABELS = 3
"""More are not shown: choosing among them is no quicker than choosing among all."""


@dataclass(frozen=True)
class LikelyLabels:
    """Conformal sets of labels for tickets that a person has to look at.

    The set of a ticket is all labels at or above a probability. On tickets for review like those of
    the hold-out it has the right one in at least `COVERAGE` of the cases, whether the probabilities
    are calibrated or not. Sources: Sadinle et al., Least Ambiguous Set-Valued Classifiers with
    Bounded Error Levels (arXiv 1609.00451); for picking instead of searching, den Hengst et al.,
    Conformal Intent Classification and Clarification (arXiv 2403.18973).
    """

    labels: Sequence[str]
    least_probability: float
    """0 where too few tickets were for review to say anything: all labels are likely."""

    @classmethod
    def of(cls, holdout: pd.DataFrame, labels: Sequence[str]) -> LikelyLabels:
        """From the hold-out of a trained classifier, of its tickets for review that have one of the
        `labels`; their probabilities are in the order of these."""
        review = holdout[~holdout["category_automatic"].astype(bool) & holdout["category"].notna()]
        # Categories that were merged since the training have one name, and a probability each.
        names = np.array(labels, dtype=object)
        truths = [
            np.asarray(probability)[names == category].max()
            for probability, category in zip(
                review["category_probabilities"], review["category"], strict=True
            )
            if category in names
        ]
        # So many of the tickets and a new one, which takes any of the places among them, may miss.
        missed = int((1 - COVERAGE) * (len(truths) + 1))
        return cls(tuple(labels), float(np.sort(truths)[missed - 1]) if missed else 0.0)

    def sets(self, probability: Floats, at_least: Integers | int = 1) -> list[list[str] | None]:
        """Per row of shape (rows, labels) the likely labels, the likeliest first; None where they
        are more than `MOST_LABELS`. The likeliest `at_least`, of each row, are always of them."""
        order = np.argsort(-probability, axis=1, kind="stable")
        counts = np.maximum((probability >= self.least_probability).sum(axis=1), at_least)
        sets = (
            list(dict.fromkeys(self.labels[code] for code in row[:count]))
            for row, count in zip(order.tolist(), counts.tolist(), strict=True)
        )
        return [labels if len(labels) <= MOST_LABELS else None for labels in sets]
