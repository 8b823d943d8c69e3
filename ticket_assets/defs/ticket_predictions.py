"""ticket_predictions: labels with confidences, a decision, a queue, the nearest past tickets."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime

import dagster as dg
import pandas as pd

from ticket_assets.defs.io_managers import inherit_origins
from ticket_assets.defs.partitions import (
    BACKFILLS,
    DAILY,
    Verdicts,
    daily_check,
    days_of_run,
    one_row_per_ticket,
    record_each_day,
)
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.markdown import counts, preview
from ticket_assets.metrics.mail import recent_days
from ticket_assets.planning.groups import SORTING
from ticket_assets.planning.recipe import CODE_VERSIONS, recipe
from ticket_assets.storage.day_origins import read_origins
from ticket_assets.storage.vectors import to_matrix

TICKETS_BY = "tickets_by"
"""Metadata of a day: its tickets, counted by each of `COUNTED` and by language."""
COUNTED = (
    "decision",
    "decided_by",
    "model_decision",
    "review_reason",
    "category",
    "priority",
    "queue",
)


def tickets_by(predictions: pd.DataFrame) -> dict[str, dict[str, int]]:
    """The numbers of tickets by each of `COUNTED`; reasons of those that wait for a person."""
    waits = predictions["decision"] == "review"
    shown = predictions.assign(review_reason=predictions["review_reason"].where(waits))
    return {name: dict(Counter(shown[name].dropna())) for name in COUNTED}


def observe_decisions(context: dg.AssetExecutionContext, desk: Desk, days: set[date]) -> None:
    """Report the counts of days that were decided anew, of those that the exporter still counts."""
    recent = sorted(days & set(map(date.fromisoformat, recent_days(datetime.now(UTC)))))
    if not recent:
        return
    rows = desk.warehouse.frame(
        f"select strftime(received_at, '%Y-%m-%d') as day, {', '.join(COUNTED)}"  # noqa: S608
        " from ticket_predictions where received_at::date in (select unnest(?))",
        [recent],
    )
    for day, of_day in rows.groupby("day"):
        context.log_event(
            dg.AssetObservation(
                "ticket_predictions",
                description="Decided anew by what people have said, or by earlier mail.",
                metadata={TICKETS_BY: tickets_by(of_day)},
                partition=str(day),
            )
        )


@dg.asset(
    deps=[
        "ticket_classifier",
        "ticket_embeddings",
        "clean_tickets",
        "ticket_collection",
        "ticket_labels",
        "suspended_labels",
    ],
    description="What the champion says of every clean ticket: category, priority, confidences,"
    " the words behind a category that a person has to look at, the nearest labelled tickets of"
    " earlier days; and what holds: a person's label, else what the champion is sure of, unless"
    " chance or a suspended label gives it to a person, else what"
    " was decided of the first ticket of the conversation, else a review. ticket_labels changes"
    " what holds where people say something else later.",
    partitions_def=DAILY,
    backfill_policy=BACKFILLS,
    group_name=SORTING,
    kinds={"duckdb", "scikitlearn"},
    code_version=CODE_VERSIONS["ticket_predictions"],
    pool=WAREHOUSE_POOL,
)
def ticket_predictions(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> pd.DataFrame:
    from ticket_assets.classification.decisions import decide
    from ticket_assets.classification.prediction import require_vectors
    from ticket_assets.classification.sorting import sort_tickets
    from ticket_assets.storage.day_parts import day_parts
    from ticket_assets.storage.neighbours import LabelledTickets

    store = desk.models
    champion = store.require_champion()
    days = days_of_run(context)
    origins = read_origins(desk.warehouse, "ticket_embeddings")
    inherit_origins(context, "ticket_predictions", origins, recipe(desk), champion.version)
    warehouse = desk.warehouse
    tickets, vectors = warehouse.row(
        "select count(*), count(e.ticket_id) from clean_tickets c"
        " left join ticket_embeddings e on c.ticket_id = e.ticket_id and e.model = ?"
        " where c.received_at::date between ? and ?",
        [champion.encoder, days[0], days[-1]],
    )
    require_vectors(tickets, vectors, champion.encoder, champion.version)
    classifier = store.load(champion.version)
    familiarity = store.load_familiarity(champion.version, classifier)
    likely = store.load_likely_labels(champion.version, classifier)
    learnt = store.load_learnt_tickets(champion.version, classifier)
    labelled = LabelledTickets.before(days[-1], warehouse, champion.encoder)
    parts = []
    for first, last in day_parts(warehouse, champion.encoder, days[0], days[-1]):
        rows = warehouse.arrow(
            "select c.ticket_id, c.received_at, c.text, c.tokens, c.language, e.vector"
            " from clean_tickets c join ticket_embeddings e using (ticket_id)"
            " where c.received_at::date between ? and ? and e.model = ?"
            " order by c.received_at, c.ticket_id",
            [first, last, champion.encoder],
        )
        tickets_read = rows.drop_columns(["vector"]).to_pandas()
        predicted = sort_tickets(
            tickets_read,
            to_matrix(rows["vector"]),
            classifier,
            labelled,
            familiarity=familiarity,
            likely=likely,
            learnt=learnt,
            model_version=champion.version,
            neighbours=desk.settings.neighbours,
        )
        parts.append(predicted.assign(language=tickets_read["language"]))
    predictions = pd.concat(parts, ignore_index=True)
    languages = predictions.pop("language")
    held, other_days = decide(warehouse, predictions, days, desk.routing, desk.settings.audit_share)
    predictions = pd.concat([predictions.drop(columns="review_reason"), held], axis=1)
    is_looked_at = predictions["review_reason"].notna()
    predictions["likely"] = predictions["likely"].where(is_looked_at, None)
    observe_decisions(context, desk, other_days)
    shown = ["received_at", "category", "category_confidence", "priority", "decision", "queue"]
    record_each_day(
        context,
        predictions,
        days,
        "ticket_predictions",
        lambda _, rows: {
            "model_version": champion.version,
            "shadow_mode": desk.settings.shadow_mode,
            "auto_share": float((rows["model_decision"] == "auto").mean()) if len(rows) else 0.0,
            "queues": counts(rows["queue"]),
            "categories": counts(rows["category"]),
            # For the exporter, which must not wait for the warehouse.
            TICKETS_BY: tickets_by(rows)
            | {"language": dict(Counter(languages[rows.index].dropna()))},
            "preview": preview(rows, shown),
        },
    )
    return predictions


@daily_check(
    asset="ticket_predictions",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every clean ticket has one prediction; there is no other.",
)
def every_clean_ticket_has_one_prediction(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    return one_row_per_ticket(
        desk.warehouse, days, "ticket_predictions", "predictions", same=("ticket_id",)
    )


@daily_check(
    asset="ticket_predictions",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every category and priority, the model's and those that hold, is one of the"
    " routing file, and every confidence a probability.",
)
def predictions_are_in_the_label_set(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    rows = desk.warehouse.rows(
        "select received_at::date as day, category, model_category, priority, model_priority,"
        " count(*) filter ((category_confidence between 0 and 1) is not true"
        " or not (coalesce(priority_confidence, 0) between 0 and 1))"
        " from ticket_predictions where day between ? and ? group by all",
        [days[0], days[-1]],
    )
    categories, priorities = set(desk.routing.categories), {None, *desk.routing.priorities}
    outside: dict[date, set[str]] = {day: set() for day, *_ in rows}
    improper: Counter[date] = Counter()
    for day, category, of_model, priority, priority_of_model, count in rows:
        outside[day] |= {category, of_model} - categories
        outside[day] |= {priority, priority_of_model} - priorities
        improper[day] += count
    return {
        day: dg.AssetCheckResult(
            passed=not of_day and not improper[day],
            metadata={
                "outside": sorted(map(str, of_day)),
                "improper_confidences": improper[day],
            },
        )
        for day, of_day in outside.items()
    }


@daily_check(
    asset="ticket_predictions",
    pool=WAREHOUSE_POOL,
    description="What a person has said of a ticket holds, and no other ticket counts as labelled."
    " `tickets run --only ticket_labels` makes it so again.",
)
def labels_hold(_: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]) -> Verdicts:
    rows = desk.warehouse.rows(
        "select received_at::date as day, count(*) filter (decision = 'labelled'),"
        " count(*) filter (l.category is distinct from if(p.decision = 'labelled', p.category,"
        " null) or l.priority is distinct from if(p.priority_decision = 'labelled', p.priority,"
        " null)) from ticket_predictions p left join ticket_labels l using (ticket_id)"
        " where day between ? and ? group by all",
        [days[0], days[-1]],
    )
    return {
        day: dg.AssetCheckResult(
            passed=not overruled,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"labelled": labelled, "overruled": overruled},
        )
        for day, labelled, overruled in rows
    }


@daily_check(
    asset="ticket_predictions",
    pool=WAREHOUSE_POOL,
    description="The share of tickets that the model decides, whoever labelled them since, is at"
    " least TICKETS_AUTO_SHARE_FLOOR.",
)
def auto_share_is_high(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    floor = desk.settings.auto_share_floor
    rows = desk.warehouse.rows(
        "select received_at::date as day, count(*) filter (model_decision = 'auto'), count(*)"
        " from ticket_predictions where day between ? and ? group by all",
        [days[0], days[-1]],
    )
    return {
        day: dg.AssetCheckResult(
            passed=auto / tickets >= floor,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"auto": auto, "tickets": tickets, "share": auto / tickets, "floor": floor},
        )
        for day, auto, tickets in rows
    }
