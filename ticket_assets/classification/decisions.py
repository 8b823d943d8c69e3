"""The decision that holds for a ticket: a person's, else the model's, else its conversation's.

The model's own answer stands beside it and stays what it is, so that what holds can be told anew at
any time, without asking the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ticket_assets.classification.prediction import DECISIONS
from ticket_assets.routing import Routing
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import Warehouse, ensure_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import duckdb

REVIEW = "review"
HELD = (*DECISIONS, *DECISIONS.values(), "decided_by")
"""The columns that tell what holds, with the queue, which follows from them."""
ANSWER = tuple(f"model_{column}" for column in HELD[:-1])
"""The columns with the model's answer."""
_PREDICTIONS = f"{SCHEMA}.ticket_predictions"
# Until its first ticket is decided, a conversation says nothing; a later message decides for none
# but itself.
_DECIDED = f"""
with answers as (
    select ticket_id, received_at, {", ".join((*ANSWER, *HELD))}, false as is_new
    from {_PREDICTIONS} where (received_at::date between $first and $last) is not true
    union all by name
    select ticket_id, received_at, {", ".join(f"{name}::varchar as {name}" for name in ANSWER)},
        true as is_new
    from predicted
),
said as (
    select answers.*, given.category as label, given.priority as label_priority,
        coalesce(given.category, if(model_decision = 'auto', model_category, null)) as own_category
    from answers left join (
        select ticket_id::varchar as ticket_id, category::varchar as category,
            priority::varchar as priority
        from labels
    ) as given using (ticket_id)
),
heard as (
    select said.*, first_value(own_category) over (
        partition by coalesce(thread_id, ticket_id) order by received_at, ticket_id
    ) as of_conversation
    from said left join (select ticket_id, thread_id from {SCHEMA}.raw_tickets) using (ticket_id)
),
held as (
    select ticket_id, received_at, is_new,
        coalesce(own_category, of_conversation, model_category) as category,
        coalesce(label_priority, model_priority) as priority,
        case when label is not null then 'labelled'
            when coalesce(own_category, of_conversation) is not null then 'auto'
            else 'review' end as decision,
        if(label_priority is null, model_priority_decision, 'labelled') as priority_decision,
        case when label is not null then 'person'
            when own_category is null and of_conversation is not null then 'conversation'
            else 'model' end as decided_by,
        {", ".join(f"heard.{name} as former_{name}" for name in HELD)}
    from heard
)
select ticket_id, received_at, is_new, {", ".join(HELD)} from held
where is_new or {" or ".join(f"{name} is distinct from former_{name}" for name in HELD)}
"""  # noqa: S608 - our own names


def queues(decided: pd.DataFrame, routing: Routing) -> pd.Series:
    """The category's queue unless a person has to look, else the review queue; also the review
    queue where the routing file no longer has the category, and of all in shadow mode."""
    queue = decided["category"].map(routing.destinations)
    return queue.where(decided["decision"] != REVIEW).fillna(routing.review_queue)


def decide(
    warehouse: Warehouse, predicted: pd.DataFrame, days: Sequence[date], routing: Routing
) -> tuple[pd.DataFrame, set[date]]:
    """What holds of new predictions; replies of other days to them are decided anew at once.

    Args:
        predicted: ticket_id, received_at and the columns `ANSWER`; they are to replace what the
            table has of `days`, which follow one another.

    Returns:
        The columns `HELD` and queue, on the index of `predicted`, and the other days that changed.

    Raises:
        WarehouseError: it cannot be written, or has no mail or labels yet.
    """
    with warehouse.transaction() as connection:
        ensure_table(connection, TABLES["ticket_predictions"])
        connection.register("predicted", predicted[["ticket_id", "received_at", *ANSWER]])
        connection.execute(f"create or replace temp view labels as from {SCHEMA}.ticket_labels")
        decided = _decided(connection, routing, days)
    of_days = decided["is_new"]
    held = decided[of_days].set_index("ticket_id").loc[predicted["ticket_id"], [*HELD, "queue"]]
    return held.set_axis(predicted.index), _days(decided[~of_days])


def follow_labels(warehouse: Warehouse, labels: pd.DataFrame, routing: Routing) -> set[date]:
    """Decide anew the predictions that these labels change, and replies to those, and no others.

    A label that is gone leaves the decision to the model.

    Args:
        labels: ticket_id, category and priority as people gave them.

    Returns:
        The days that changed.

    Raises:
        WarehouseError: it cannot be written.
    """
    if "ticket_predictions" not in warehouse.tables():
        return set()
    with warehouse.transaction() as connection:
        connection.register("labels", labels)
        connection.execute(f"create temp view predicted as from {_PREDICTIONS} limit 0")
        return _days(_decided(connection, routing))


def _decided(
    connection: duckdb.DuckDBPyConnection, routing: Routing, days: Sequence[date] = ()
) -> pd.DataFrame:
    """What holds of the `predicted` and of the rows of other days that held something else, which
    are changed."""
    first, last = (days[0], days[-1]) if days else (None, None)
    decided = connection.execute(_DECIDED, {"first": first, "last": last}).df()
    decided["queue"] = queues(decided, routing)
    changed = decided[~decided["is_new"]]
    if len(changed):
        # With casts: a column without any value has no type.
        values = ", ".join(f"{name} = changed.{name}::varchar" for name in (*HELD, "queue"))
        connection.register("changed", changed)
        connection.execute(
            f"update {_PREDICTIONS} as p set {values} from changed"  # noqa: S608
            " where p.ticket_id = changed.ticket_id"
        )
    return decided


def _days(decided: pd.DataFrame) -> set[date]:
    return set(decided["received_at"].dt.date)
