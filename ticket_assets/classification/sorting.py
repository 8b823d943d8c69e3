"""The champion's rows of ticket_predictions: labels, decision, queue, nearest past tickets."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, cast

import pandas as pd

from ticket_assets.routing import Routing
from ticket_assets.storage.collection import TicketCollection, neighbours_json
from ticket_assets.storage.vectors import Matrix

if TYPE_CHECKING:
    from ticket_assets.classification.prediction import Classifier


def sort_tickets(
    tickets: pd.DataFrame,
    vectors: Matrix,
    classifier: Classifier,
    collection: TicketCollection,
    routing: Routing,
    *,
    model_version: str,
    neighbours: int,
) -> pd.DataFrame:
    """The rows of ticket_predictions for `tickets`, in their order.

    Args:
        tickets: ticket_id, received_at and text.
        vectors: float32 of shape (len(tickets), dimension), aligned with `tickets`.
    """
    predicted = classifier.predict(tickets, vectors)
    return pd.DataFrame(
        {
            "ticket_id": tickets["ticket_id"],
            "received_at": tickets["received_at"],
            **predicted.to_dict("series"),
            "queue": queues(predicted, routing),
            "nearest": _nearest(tickets["received_at"], vectors, collection, neighbours),
            "model_version": model_version,
        }
    )


def queues(predicted: pd.DataFrame, routing: Routing) -> pd.Series:
    """The category's queue where the category is sure; the review queue elsewhere, and where the
    routing file no longer has the category."""
    queue = predicted["category"].map(routing.queues)
    return queue.where(predicted["decision"] == "auto").fillna(routing.review_queue)


def _nearest(
    received_at: pd.Series, vectors: Matrix, collection: TicketCollection, count: int
) -> pd.Series:
    """Nearest labelled tickets of earlier days as JSON; a day at a time, as the filter is."""
    found = pd.Series(index=received_at.index, dtype=object)
    positions = pd.Series(range(len(received_at)), index=received_at.index)
    for day, rows in positions.groupby(received_at.dt.date):
        neighbours = collection.nearest(
            vectors[rows.to_numpy()], count, labelled_only=True, before=cast(date, day)
        )
        found[rows.index] = [neighbours_json(near) for near in neighbours]
    return found
