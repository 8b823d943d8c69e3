"""The decision that holds for a ticket: what a person has said of it, else the model's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ticket_assets.classification.prediction import DECISIONS
from ticket_assets.routing import Routing
from ticket_assets.storage.tables import SCHEMA

if TYPE_CHECKING:
    from datetime import date

    from ticket_assets.storage.warehouse import Warehouse

AUTO, REVIEW, LABELLED = "auto", "review", "labelled"
MODEL, PERSON = "model", "person"
"""Who decided the category, and with it the queue."""
HELD = (*DECISIONS, *DECISIONS.values(), "decided_by", "queue")
"""The columns of ticket_predictions that labels change; those of the model stay what they are."""


def decide(predicted: pd.DataFrame, labels: pd.DataFrame, routing: Routing) -> pd.DataFrame:
    """The columns `HELD` of predictions, on their index.

    Args:
        predicted: ticket_id and, of each target, the model's answer and decision: model_category,
            model_decision, model_priority, model_priority_decision.
        labels: ticket_id, category and priority as people gave them.
    """
    given = labels.set_index("ticket_id").reindex(predicted["ticket_id"])
    given = given.set_axis(predicted.index).astype(object)
    held = pd.DataFrame(index=predicted.index)
    for target, decision in DECISIONS.items():
        is_labelled = given[target].notna()
        held[target] = predicted[f"model_{target}"].mask(is_labelled, given[target])
        held[decision] = predicted[f"model_{decision}"].mask(is_labelled, LABELLED)
    held["decided_by"] = held["decision"].map(lambda how: PERSON if how == LABELLED else MODEL)
    return held.assign(queue=queues(held, routing))[list(HELD)]


def queues(decided: pd.DataFrame, routing: Routing) -> pd.Series:
    """The category's queue unless a person has to look, else the review queue; also the review
    queue where the routing file no longer has the category, and of all in shadow mode."""
    queue = decided["category"].map(routing.destinations)
    return queue.where(decided["decision"] != REVIEW).fillna(routing.review_queue)


def follow_labels(warehouse: Warehouse, labels: pd.DataFrame, routing: Routing) -> set[date]:
    """Decide anew the predictions that other labels than these have decided, and no others.

    The model is not asked again: its answers stand beside what holds. A label that is gone leaves
    the decision to the model.

    Returns:
        The days of what was changed.

    Raises:
        WarehouseError: it cannot be written.
    """
    if "ticket_predictions" not in warehouse.tables():
        return set()
    table = f"{SCHEMA}.ticket_predictions"
    differs = " or ".join(
        f"g.{target} is distinct from if(p.{decision} = '{LABELLED}', p.{target}, null)"
        for target, decision in DECISIONS.items()
    )
    # With casts: a column without any value has no type.
    names = ", ".join(f"{column}::varchar as {column}" for column in ("ticket_id", *DECISIONS))
    values = ", ".join(f"{column} = held.{column}::varchar" for column in HELD)
    with warehouse.transaction() as connection:
        connection.register("given", labels)
        outdated = connection.execute(
            "select p.ticket_id, p.received_at, p.model_category, p.model_decision,"  # noqa: S608
            " p.model_priority, p.model_priority_decision"
            f" from {table} as p left join (select {names} from given) as g using (ticket_id)"
            f" where {differs}"
        ).df()
        if len(outdated):
            held = decide(outdated, labels, routing).assign(ticket_id=outdated["ticket_id"])
            connection.register("held", held)
            connection.execute(
                f"update {table} as p set {values} from held where p.ticket_id = held.ticket_id"  # noqa: S608
            )
    return set(outdated["received_at"].dt.date)
