"""What the champion says of tickets: labels, decisions, reasons, words and neighbours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from ticket_assets.classification.calibration import ALWAYS_REVIEW
from ticket_assets.classification.prediction import DECISIONS
from ticket_assets.storage.neighbours import LabelledTickets, neighbours_json
from ticket_assets.storage.vectors import Matrix

if TYPE_CHECKING:
    from ticket_assets.classification.familiarity import Familiarity
    from ticket_assets.classification.learnt_tickets import LearntTickets
    from ticket_assets.classification.likely_labels import LikelyLabels
    from ticket_assets.classification.prediction import Classifier, Terms

UNSURE = "unsure"
"""The category is less probable than its threshold, the least of an automatic decision."""
ALWAYS_REVIEWED = "always_reviewed"
"""The category has no threshold: its past labels are too few, or too often mistaken."""


def sort_tickets(
    tickets: pd.DataFrame,
    vectors: Matrix,
    classifier: Classifier,
    labelled: LabelledTickets,
    *,
    familiarity: Familiarity,
    likely: LikelyLabels,
    learnt: LearntTickets,
    model_version: str,
    neighbours: int,
) -> pd.DataFrame:
    """What the model says of `tickets`, in their order: the rows of ticket_predictions but for what
    holds and what held before, which `decisions.decide` tells.

    Args:
        tickets: ticket_id, received_at, text, tokens and language.
        vectors: float32 of shape (len(tickets), dimension), aligned with `tickets`.
        labelled: tickets among which the nearest are looked for.
        familiarity: what the classifier has learnt from.
        likely: the sets of categories for the tickets that a person looks at.
        learnt: what to say of the tickets that the classifier has learnt from.
    """
    unfamiliar = familiarity.reasons(tickets, vectors)
    predicted = classifier.predict(
        tickets,
        vectors,
        with_terms=True,
        likely=likely,
        reviewed=unfamiliar.notna().to_numpy(),
        learnt=learnt,
    )
    answer = predicted[[*DECISIONS, *DECISIONS.values()]].add_prefix("model_")
    return pd.DataFrame(
        {
            "ticket_id": tickets["ticket_id"],
            "received_at": tickets["received_at"],
            **predicted[[f"{target}_confidence" for target in DECISIONS]].to_dict("series"),
            **answer.to_dict("series"),
            "review_reason": review_reasons(predicted, classifier, unfamiliar),
            "likely": predicted["likely"].map(labels_json, na_action="ignore"),
            "terms": predicted["terms"].map(_terms_json, na_action="ignore"),
            "nearest": _nearest(tickets["received_at"], vectors, labelled, neighbours),
            "model_version": model_version,
        }
    )


def labels_json(labels: list[str]) -> str:
    """Likely labels as the tables have them."""
    # Without blanks, as DuckDB writes it where a category gets another name.
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))


def _terms_json(terms: Terms) -> str:
    return json.dumps([[word, round(weight, 4)] for word, weight in terms], ensure_ascii=False)


def review_reasons(
    predicted: pd.DataFrame, classifier: Classifier, unfamiliar: pd.Series
) -> pd.Series:
    """Why the model leaves each ticket to a person; None for those that it decides."""
    model = classifier.targets["category"]
    # Categories that were merged since the training have one name, and a threshold each.
    decidable = {
        label
        for label, threshold in zip(model.labels, model.thresholds, strict=True)
        if threshold < ALWAYS_REVIEW
    }
    reasons = predicted["category"].map(
        lambda label: UNSURE if label in decidable else ALWAYS_REVIEWED
    )
    reasons = reasons.where(unfamiliar.isna(), unfamiliar)
    return reasons.astype(object).where(predicted["decision"] == "review", None)


def _nearest(
    received_at: pd.Series, vectors: Matrix, labelled: LabelledTickets, count: int
) -> pd.Series:
    """Nearest labelled tickets of earlier days, as JSON."""
    nearest = labelled.nearest(vectors, received_at.dt.date.tolist(), count)
    return pd.Series(map(neighbours_json, nearest), received_at.index, dtype=object)
