"""ticket_labels: the category and priority that people gave, latest wins; they hold at once."""

from datetime import UTC, date, datetime

import dagster as dg
import pandas as pd

from ticket_assets.defs.io_managers import record_origins
from ticket_assets.defs.landed_mail import unreported_labels
from ticket_assets.defs.partitions import shown
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.defs.ticket_predictions import COUNTED, TICKETS_BY, tickets_by
from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import day_fingerprints, labels_fingerprint, overall_fingerprint
from ticket_assets.markdown import counts
from ticket_assets.metrics.mail import recent_days
from ticket_assets.planning.groups import MAIL
from ticket_assets.storage.day_origins import UNPARTITIONED, Origin


@dg.asset(
    deps=["landed_labels"],
    description="Labels from imports and corrections; the latest of a ticket wins, for category"
    " and priority apart. What they say of a ticket that was predicted already holds from now on;"
    " the model's own answer stays beside it.",
    group_name=MAIL,
    kinds={"duckdb", "pandas"},
    code_version="1",
    pool=WAREHOUSE_POOL,
)
def ticket_labels(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> pd.DataFrame:
    from ticket_assets.classification.decisions import follow_labels

    # Before reading: labels that land meanwhile are then new.
    landed = labels_fingerprint(desk.landing)
    for observation in unreported_labels(context.instance, landed):
        context.log_event(observation)
    mail = overall_fingerprint(day_fingerprints(desk.landing, desk.cursors))
    resolved = desk.landing.resolve_labels(desk.routing.categories)
    if resolved.unresolved:
        landed += f" {mail}"  # a label whose message has not landed counts once it has
    # Before they are written: if the process dies in between, the labels are read once more.
    decided_anew = follow_labels(desk.warehouse, resolved.labels, desk.routing)
    for day, rows in _recent_predictions(desk, decided_anew):
        context.log_event(
            dg.AssetObservation(
                "ticket_predictions",
                description="Decided anew by what people have said since.",
                metadata={TICKETS_BY: tickets_by(rows)},
                partition=day,
            )
        )
    record_origins(context, "ticket_labels", {UNPARTITIONED: Origin(landed, "")})
    context.add_asset_metadata(
        shown(
            {
                "dagster/row_count": len(resolved.labels),
                "labels_without_ticket": resolved.unresolved,
                "categories": counts(resolved.labels["category"]),
                "priorities": counts(resolved.labels["priority"]),
                "days_decided_anew": len(decided_anew),
            }
        )
    )
    return resolved.labels


def _recent_predictions(desk: Desk, days: set[date]) -> list[tuple[str, pd.DataFrame]]:
    """The predictions of those of the days that the exporter still counts, a day at a time."""
    recent = sorted(days & set(map(date.fromisoformat, recent_days(datetime.now(UTC)))))
    if not recent:
        return []
    rows = desk.warehouse.frame(
        f"select strftime(received_at, '%Y-%m-%d') as day, {', '.join(COUNTED)}"  # noqa: S608
        " from ticket_predictions where received_at::date in (select unnest(?))",
        [recent],
    )
    return [(str(day), of_day) for day, of_day in rows.groupby("day")]


@dg.asset_check(
    asset="ticket_labels",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every label is a category or a priority of the routing file.",
)
def labels_are_configured(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    routing = desk.routing
    labels = desk.warehouse.frame("select category, priority from ticket_labels")
    unknown = {
        target: sorted(set(labels[target].dropna()) - set(allowed))
        for target, allowed in (
            ("category", routing.categories),
            ("priority", routing.priorities),
        )
    }
    return dg.AssetCheckResult(
        passed=not any(unknown.values()), metadata={"labels": len(labels), "unknown": unknown}
    )
