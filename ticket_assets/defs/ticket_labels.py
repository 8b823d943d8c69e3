"""ticket_labels: the category and priority that people gave, latest wins; they hold at once."""

import dagster as dg
import pandas as pd

from ticket_assets.defs.io_managers import record_origins
from ticket_assets.defs.landed_mail import unreported_labels
from ticket_assets.defs.partitions import shown
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.defs.ticket_predictions import observe_decisions
from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import day_fingerprints, labels_fingerprint, overall_fingerprint
from ticket_assets.markdown import counts
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
    observe_decisions(context, desk, decided_anew)
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
