"""audit: what checks promise of a run's days, asked of all days together, every night."""

import dagster as dg

from ticket_assets.defs.partitions import audit_of
from ticket_assets.defs.raw_tickets import ticket_ids_are_unique
from ticket_assets.defs.ticket_collection import collection_has_the_ids_of_the_table
from ticket_assets.defs.ticket_embeddings import (
    every_clean_ticket_has_one_vector,
    vectors_come_from_one_encoder,
)
from ticket_assets.defs.ticket_predictions import (
    every_clean_ticket_has_one_prediction,
    predictions_are_in_the_label_set,
)
from ticket_assets.desk import Desk
from ticket_assets.planning.groups import COLLECTION_POOL, WAREHOUSE_POOL

# What a later change can break on days that no run is about: other days' rows, another encoder,
# other labels. What a row promises by itself cannot change after the run that wrote it.
AUDITS = [
    audit_of(ticket_ids_are_unique, "raw_tickets", WAREHOUSE_POOL),
    audit_of(every_clean_ticket_has_one_vector, "ticket_embeddings", WAREHOUSE_POOL),
    audit_of(vectors_come_from_one_encoder, "ticket_embeddings", WAREHOUSE_POOL),
    audit_of(collection_has_the_ids_of_the_table, "ticket_embeddings", COLLECTION_POOL),
    audit_of(every_clean_ticket_has_one_prediction, "ticket_predictions", WAREHOUSE_POOL),
    audit_of(predictions_are_in_the_label_set, "ticket_predictions", WAREHOUSE_POOL),
]

audit = dg.define_asset_job(
    "audit",
    selection=dg.AssetSelection.checks(*AUDITS),
    description="What the checks of a run promise of its days, asked of all days: it warns only.",
)


@dg.schedule(
    job=audit,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Audits all days every night, where there is anything to audit and no run is at"
    " work on it.",
)
def nightly_audit(
    context: dg.ScheduleEvaluationContext, desk: dg.ResourceParam[Desk]
) -> dg.RunRequest | dg.SkipReason:
    if not desk.settings.warehouse_path.exists():
        return dg.SkipReason("Nothing has been processed yet.")
    at_work = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    if context.instance.get_runs(at_work, limit=1):
        return dg.SkipReason("A run is at work: its days are half done.")
    return dg.RunRequest()
