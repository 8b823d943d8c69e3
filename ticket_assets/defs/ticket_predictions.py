"""ticket_predictions: labels with confidences, a decision, a queue, the nearest past tickets."""

import dagster as dg
import pandas as pd

from ticket_assets.defs.conventions import COLLECTION_POOL, WAREHOUSE_POOL
from ticket_assets.defs.partitions import DAILY, SINGLE_RUN, days, run_window
from ticket_assets.defs.previews import counts, preview, record_rows_per_day
from ticket_assets.desk import Desk
from ticket_assets.storage.vectors import to_matrix


@dg.asset(
    deps=["ticket_classifier", "ticket_embeddings", "clean_tickets", "ticket_collection"],
    description="What the champion says of every clean ticket: category, priority, confidences,"
    " decision (auto or review), queue, the words behind a category that a person has to look at,"
    " and the nearest labelled tickets of earlier days.",
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    group_name="predictions",
    kinds={"duckdb", "scikitlearn"},
    code_version="2",
    pool=COLLECTION_POOL,
)
def ticket_predictions(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> pd.DataFrame:
    from ticket_assets.classification.prediction import require_vectors
    from ticket_assets.classification.sorting import sort_tickets

    store = desk.models
    champion = store.require_champion()
    wanted = days(context)
    warehouse = desk.warehouse
    rows = warehouse.arrow(
        "select c.ticket_id, c.received_at, c.text, e.vector from clean_tickets c"
        " join ticket_embeddings e using (ticket_id)"
        " where c.received_at::date between ? and ? and e.model = ?"
        " order by c.received_at, c.ticket_id",
        [wanted[0], wanted[-1], champion.encoder],
    )
    (tickets,) = warehouse.row(
        "select count(*) from clean_tickets where received_at::date between ? and ?",
        [wanted[0], wanted[-1]],
    )
    require_vectors(tickets, len(rows), champion.encoder, champion.version)
    with desk.collection(champion.encoder) as collection:
        predictions = sort_tickets(
            rows.drop_columns(["vector"]).to_pandas(),
            to_matrix(rows["vector"]),
            store.load(champion.version),
            collection,
            desk.routing,
            model_version=champion.version,
            neighbours=desk.settings.neighbours,
        )
    record_rows_per_day(context, predictions["received_at"], wanted, "ticket_predictions")
    context.add_asset_metadata(
        {
            "model_version": champion.version,
            "auto_share": float((predictions["decision"] == "auto").mean()) if len(rows) else 0.0,
            "queues": counts(predictions["queue"]),
            "categories": counts(predictions["category"]),
            "preview": preview(
                predictions,
                ["received_at", "category", "category_confidence", "priority", "decision", "queue"],
            ),
        }
    )
    return predictions


@dg.asset_check(
    asset="ticket_predictions",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every clean ticket of the run's days has one prediction; there is no other.",
)
def every_clean_ticket_has_one_prediction(
    context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.AssetCheckResult:
    first, last = run_window(context.run.tags) or (DAILY.start.date(), None)
    tickets, predictions, paired = desk.warehouse.row(
        "with tickets as (select ticket_id from clean_tickets"
        "  where received_at::date >= $1 and received_at::date <= coalesce($2, received_at)),"
        " predictions as (select ticket_id from ticket_predictions"
        "  where received_at::date >= $1 and received_at::date <= coalesce($2, received_at))"
        " select (select count(*) from tickets), (select count(*) from predictions),"
        " (select count(*) from tickets join predictions using (ticket_id))",
        [first, last],
    )
    return dg.AssetCheckResult(
        passed=tickets == predictions == paired,
        metadata={"clean_tickets": tickets, "predictions": predictions, "paired": paired},
    )


@dg.asset_check(
    asset="ticket_predictions",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every predicted category and priority is one of the routing file, and every"
    " confidence a probability.",
)
def predictions_are_in_the_label_set(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    routing = desk.routing
    warehouse = desk.warehouse
    found = warehouse.rows("select distinct category, priority from ticket_predictions")
    outside = {category for category, _ in found} - set(routing.categories)
    outside |= {priority for _, priority in found if priority} - set(routing.priorities)
    (improper,) = warehouse.row(
        "select count(*) from ticket_predictions"
        " where (category_confidence between 0 and 1) is not true"
        " or not (coalesce(priority_confidence, 0) between 0 and 1)"
    )
    return dg.AssetCheckResult(
        passed=not outside and improper == 0,
        metadata={"outside": sorted(outside), "improper_confidences": improper},
    )


@dg.asset_check(
    asset="ticket_predictions",
    pool=WAREHOUSE_POOL,
    description="The share of automatic decisions is at least TICKETS_AUTO_SHARE_FLOOR.",
)
def auto_share_is_high(
    context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.AssetCheckResult:
    first, last = run_window(context.run.tags) or (DAILY.start.date(), None)
    auto, tickets = desk.warehouse.row(
        "select count(*) filter (decision = 'auto'), count(*) from ticket_predictions"
        " where received_at::date >= ? and received_at::date <= coalesce(?, received_at)",
        [first, last],
    )
    share = auto / tickets if tickets else 1.0
    return dg.AssetCheckResult(
        passed=share >= desk.settings.auto_share_floor,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "auto": auto,
            "tickets": tickets,
            "share": share,
            "floor": desk.settings.auto_share_floor,
        },
    )
