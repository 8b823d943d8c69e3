"""The champion's rows of ticket_predictions: labels, decision, queue, words and neighbours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from ticket_assets.routing import Routing
from ticket_assets.storage.neighbours import LabelledTickets, neighbours_json
from ticket_assets.storage.vectors import Matrix

if TYPE_CHECKING:
    from ticket_assets.classification.prediction import Classifier, Terms


def sort_tickets(
    tickets: pd.DataFrame,
    vectors: Matrix,
    classifier: Classifier,
    labelled: LabelledTickets,
    routing: Routing,
    *,
    model_version: str,
    neighbours: int,
) -> pd.DataFrame:
    """The rows of ticket_predictions for `tickets`, in their order.

    Args:
        tickets: ticket_id, received_at and text.
        vectors: float32 of shape (len(tickets), dimension), aligned with `tickets`.
        labelled: tickets among which the nearest are looked for.
    """
    predicted = classifier.predict(tickets, vectors, with_terms=True)
    return pd.DataFrame(
        {
            "ticket_id": tickets["ticket_id"],
            "received_at": tickets["received_at"],
            **predicted.drop(columns="terms").to_dict("series"),
            "queue": queues(predicted, routing),
            "terms": predicted["terms"].map(_terms_json, na_action="ignore"),
            "nearest": _nearest(tickets["received_at"], vectors, labelled, neighbours),
            "model_version": model_version,
        }
    )


def _terms_json(terms: Terms) -> str:
    return json.dumps([[word, round(weight, 4)] for word, weight in terms], ensure_ascii=False)


def queues(predicted: pd.DataFrame, routing: Routing) -> pd.Series:
    """The category's queue where the category is sure, else the review queue; also the review queue
    where the routing file no longer has the category."""
    queue = predicted["category"].map(routing.queues)
    return queue.where(predicted["decision"] == "auto").fillna(routing.review_queue)


def _nearest(
    received_at: pd.Series, vectors: Matrix, labelled: LabelledTickets, count: int
) -> pd.Series:
    """Nearest labelled tickets of earlier days, as JSON."""
    nearest = labelled.nearest(vectors, received_at.dt.date.tolist(), count)
    return pd.Series(map(neighbours_json, nearest), received_at.index, dtype=object)
