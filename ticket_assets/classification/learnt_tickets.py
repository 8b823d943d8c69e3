"""What a classifier's folds said of the tickets that it has learnt from, kept with the model.

Asked itself, the classifier is nearly always sure of them, and right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ticket_assets.classification.likely_labels import MOST_LABELS

if TYPE_CHECKING:
    from ticket_assets.classification.features import Floats, Integers

LIKELIEST = MOST_LABELS + 1
"""Labels that are kept of a ticket: of a set of likely labels one more tells that it is too large.
"""


def out_of_fold_columns(probability: Mapping[str, Floats]) -> pd.DataFrame:
    """Of each target the columns <target>_codes and <target>_probabilities: the `LIKELIEST` labels
    of each ticket by their number in the model, the likeliest first.

    Args:
        probability: out of fold, of each target, shape (tickets, labels).
    """
    columns = {}
    for target, of_target in probability.items():
        codes = np.argsort(-of_target, axis=1, kind="stable")[:, :LIKELIEST]
        columns[f"{target}_codes"] = pd.Series(list(codes.astype(np.int16)))
        likeliest = np.take_along_axis(of_target, codes, axis=1).astype(np.float32)
        columns[f"{target}_probabilities"] = pd.Series(list(likeliest))
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class LearntTickets:
    """The likeliest labels of the tickets that a classifier has learnt from, by ticket_id."""

    places: Mapping[str, int]
    codes: Mapping[str, Integers]
    probabilities: Mapping[str, Floats]

    @classmethod
    def of(cls, training_tickets: pd.DataFrame, targets: Iterable[str]) -> LearntTickets:
        """From `TrainedClassifier.training_tickets`; empty for models of former releases, which
        did not keep them."""
        targets = [name for name in targets if f"{name}_codes" in training_tickets]
        ids = training_tickets["ticket_id"] if targets else ()
        return cls(
            {ticket_id: place for place, ticket_id in enumerate(ids)},
            {name: _matrix(training_tickets[f"{name}_codes"]) for name in targets},
            {name: _matrix(training_tickets[f"{name}_probabilities"]) for name in targets},
        )

    def put_into(self, probability: Mapping[str, Floats], ticket_ids: Iterable[str]) -> None:
        """Replace the rows of learnt tickets in the probabilities of each target, shape (tickets,
        labels); labels that were not kept get 0."""
        learnt = [
            (row, place)
            for row, ticket_id in enumerate(ticket_ids)
            if (place := self.places.get(ticket_id)) is not None
        ]
        if not learnt:
            return
        rows, places = map(np.array, zip(*learnt, strict=True))
        for target, codes in self.codes.items():
            probability[target][rows] = 0.0
            probability[target][rows[:, None], codes[places]] = self.probabilities[target][places]


def _matrix(column: pd.Series) -> Any:
    """Shape (tickets, labels kept)."""
    return np.stack(column.tolist()) if len(column) else np.zeros((0, 0))
