"""The decision that holds for a ticket: a person's, else the model's, else its conversation's.

The model's own answer stands beside it and stays what it is, so that what holds can be told anew at
any time, without asking the model. A random share of what the model is sure of, and what it says of
labels that are suspended, goes to a person all the same.
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
AUDIT = "audit"
"""Why a person looks at a ticket of which the model is sure: chance has chosen it."""
SUSPENDED = "suspended"
"""Why a person looks at a ticket of which the model is sure: its label broke its promise."""
REVIEWERS_DAYS = 30
"""Without any label of a person in the days before a ticket nobody would answer an audit."""
HELD = (*DECISIONS, *DECISIONS.values(), "decided_by")
"""The columns that tell what holds, with the queue, which follows from them."""
ANSWER = tuple(f"model_{column}" for column in HELD[:-1])
"""The columns with the model's answer."""
_FORMER = ("former_category", "former_decision", "former_model_version")
_CHANGED = (*HELD, "review_reason", *_FORMER)
_PREDICTIONS = f"{SCHEMA}.ticket_predictions"
_DIGITS = 13
"""Of a hash in hexadecimal: chances are kept to 2 in 10**16."""
# Another champion has not broken its promise, before its suspensions are ended in the table too.
_SUSPENDED = (
    f"select label from {SCHEMA}.suspended_labels"  # noqa: S608
    " where reset_at is null and model_version = ?"
)
_REVIEWED_UNTIL = (
    f"select max(labelled_at) + interval {REVIEWERS_DAYS} day from labels"  # noqa: S608
    " where category is not null"
)
# What was decided of a ticket before stays, whatever is said of audits or of its label since: a
# ticket that was handed on is not called back, and an audit is one before anybody knows its result.
# Until its first ticket is decided, a conversation says nothing; a later message decides for none
# but itself.
_DECIDED = f"""
with answers as (
    select ticket_id, received_at, {", ".join((*ANSWER, "review_reason", *_FORMER))},
        {", ".join(f"{name} as held_{name}" for name in (*HELD, "model_version"))},
        model_decision as held_model_decision, review_reason as held_reason, false as is_new
    from {_PREDICTIONS} where (received_at::date between $first and $last) is not true
    union all by name
    select predicted.ticket_id::varchar as ticket_id, predicted.received_at,
        {", ".join(f"before.{name}" for name in _FORMER)},
        {", ".join(f"predicted.{name}::varchar as {name}" for name in (*ANSWER, "review_reason"))},
        {", ".join(f"before.{name} as held_{name}" for name in (*HELD, "model_version"))},
        before.model_decision as held_model_decision, before.review_reason as held_reason,
        true as is_new
    from predicted left join {_PREDICTIONS} as before
        on before.ticket_id = predicted.ticket_id::varchar
),
said as (
    select answers.* exclude (review_reason), given.category as label,
        given.priority as label_priority,
        case when not is_new or model_decision = 'review' then review_reason
            when held_model_decision = 'auto' and held_reason = '{AUDIT}' then '{AUDIT}'
            when list_contains($suspended::varchar[], model_category) then '{SUSPENDED}'
            when held_model_decision = 'auto' and held_reason is null then null
            when sha256('{AUDIT} ' || ticket_id)[:{_DIGITS}] < $audited
                and received_at <= $reviewed_until then '{AUDIT}'
            end as own_reason,
        coalesce(
            given.category, if(model_decision = 'auto' and own_reason is null, model_category, null)
        ) as own_category
    from answers left join (
        select ticket_id::varchar as ticket_id, category::varchar as category,
            priority::varchar as priority
        from labels
    ) as given using (ticket_id)
),
heard as (
    select said.*,
        first_value(own_category) over conversation as first_category,
        first_value(label) over conversation as first_label
    from said left join (select ticket_id, thread_id from {SCHEMA}.raw_tickets) using (ticket_id)
    window conversation as (
        partition by coalesce(thread_id, ticket_id) order by received_at, ticket_id
    )
),
reasoned as (
    select heard.*,
        case when is_new and own_category is null and model_decision = 'review'
                and first_label is null
                and list_contains($suspended::varchar[], first_category)
            then '{SUSPENDED}' else own_reason end as review_reason,
        -- What a person said of the conversation holds, whatever became of the label.
        case when review_reason = '{AUDIT}' then null
            when review_reason = '{SUSPENDED}' then first_label
            else first_category end as of_conversation
    from heard
),
held as (
    select ticket_id, received_at, is_new, review_reason,
        coalesce(own_category, of_conversation, model_category) as category,
        coalesce(label_priority, model_priority) as priority,
        case when label is not null then 'labelled'
            when coalesce(own_category, of_conversation) is not null then 'auto'
            else 'review' end as decision,
        if(label_priority is null, model_priority_decision, 'labelled') as priority_decision,
        case when label is not null then 'person'
            when own_category is null and of_conversation is not null then 'conversation'
            else 'model' end as decided_by,
        case when label is null then null
            when held_decided_by = 'person' then former_category
            else held_category end as former_category,
        case when label is null then null
            when held_decided_by = 'person' then former_decision
            when held_decision = 'review' and held_reason in ('{AUDIT}', '{SUSPENDED}')
            then held_reason
            else held_decision end as former_decision,
        case when label is null then null
            when held_decided_by = 'person' then former_model_version
            else held_model_version end as former_model_version,
        {", ".join(f"held_{name}" for name in HELD)},
        held_reason as held_review_reason,
        {", ".join(f"{name} as held_{name}" for name in _FORMER)}
    from reasoned
)
select ticket_id, received_at, is_new, {", ".join(_CHANGED)} from held
where is_new or {" or ".join(f"{name} is distinct from held_{name}" for name in _CHANGED)}
"""  # noqa: S608 - our own names


def queues(decided: pd.DataFrame, routing: Routing) -> pd.Series:
    """The category's queue unless a person has to look, else the review queue; also the review
    queue where the routing file no longer has the category, and of all in shadow mode."""
    queue = decided["category"].map(routing.destinations)
    return queue.where(decided["decision"] != REVIEW).fillna(routing.review_queue)


def decide(
    warehouse: Warehouse,
    predicted: pd.DataFrame,
    days: Sequence[date],
    routing: Routing,
    audit_share: float = 0.0,
) -> tuple[pd.DataFrame, set[date]]:
    """What holds of new predictions; replies of other days to them are decided anew at once.

    Args:
        predicted: ticket_id, received_at, the columns `ANSWER`, the model's review_reason and its
            model_version; they are to replace what the table has of `days`, which follow one
            another.
        audit_share: of the tickets that the model decides so many go to a person all the same, from
            0 to below 1. Their ids choose them, so that they are the same at each repetition.

    Returns:
        The columns `HELD`, queue, review_reason and those of what held before a person spoke, on
        the index of `predicted`, and the other days that changed.

    Raises:
        WarehouseError: it cannot be written, or has no mail or labels yet.
    """
    with warehouse.transaction() as connection:
        ensure_table(connection, TABLES["ticket_predictions"])
        columns = ["ticket_id", "received_at", *ANSWER, "review_reason"]
        connection.register("predicted", predicted[columns])
        connection.execute(f"create or replace temp view labels as from {SCHEMA}.ticket_labels")
        champion = predicted["model_version"].iloc[0] if len(predicted) else None
        decided = _decided(connection, routing, days, audit_share, champion)
    of_days = decided["is_new"]
    held = decided[of_days].set_index("ticket_id")
    held = held.loc[predicted["ticket_id"], [*_CHANGED, "queue"]]
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
    connection: duckdb.DuckDBPyConnection,
    routing: Routing,
    days: Sequence[date] = (),
    audit_share: float = 0.0,
    champion: str | None = None,
) -> pd.DataFrame:
    """What holds of the `predicted` and of the rows of other days that held something else, which
    are changed."""
    first, last = (days[0], days[-1]) if days else (None, None)
    ensure_table(connection, TABLES["suspended_labels"])
    suspended = [label for (label,) in connection.execute(_SUSPENDED, [champion]).fetchall()]
    reviewed_until = None
    if audit_share:
        (reviewed_until,) = connection.execute(_REVIEWED_UNTIL).fetchall()[0]
    parameters = {
        "first": first,
        "last": last,
        "audited": f"{int(audit_share * 16**_DIGITS):0{_DIGITS}x}",
        "reviewed_until": reviewed_until,
        "suspended": suspended,
    }
    decided = connection.execute(_DECIDED, parameters).df()
    decided["queue"] = queues(decided, routing)
    changed = decided[~decided["is_new"]]
    if len(changed):
        # With casts: a column without any value has no type.
        values = ", ".join(f"{name} = changed.{name}::varchar" for name in (*_CHANGED, "queue"))
        connection.register("changed", changed)
        connection.execute(
            f"update {_PREDICTIONS} as p set {values} from changed"  # noqa: S608
            " where p.ticket_id = changed.ticket_id"
        )
    return decided


def _days(decided: pd.DataFrame) -> set[date]:
    return set(decided["received_at"].dt.date)
