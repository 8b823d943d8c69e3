"""audit: what checks promise of a run's days, asked of all days together.

Automation does it every night; `audit` is the same as a job, for a person.
"""

from datetime import UTC, datetime

import dagster as dg

from ticket_assets.defs.lateness import no_day_is_left_half_way, no_message_waits_too_long
from ticket_assets.defs.partitions import DAYS_SHOWN, NIGHTLY, audit_of
from ticket_assets.defs.pools import COLLECTION_POOL, WAREHOUSE_POOL
from ticket_assets.defs.raw_tickets import ticket_ids_are_unique
from ticket_assets.defs.ticket_collection import collection_has_the_ids_of_the_table
from ticket_assets.defs.ticket_embeddings import (
    every_clean_ticket_has_one_vector,
    vectors_come_from_one_encoder,
)
from ticket_assets.defs.ticket_predictions import (
    every_clean_ticket_has_one_prediction,
    labels_hold,
    predictions_are_in_the_label_set,
)
from ticket_assets.desk import Desk
from ticket_assets.mail.originals import NIGHTS, damaged_originals


@dg.asset_check(
    asset="raw_tickets",
    description="The originals in the landing zone hold the bytes that landed. Each night a share"
    f" of them is read, and all of them in {NIGHTS} nights; `tickets doctor` reads all at once.",
    automation_condition=NIGHTLY,
)
def originals_are_as_they_landed(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    read = 0

    def count(number: int) -> None:
        nonlocal read
        read = number

    damaged = list(damaged_originals(desk.landing, datetime.now(UTC).date(), count))
    return dg.AssetCheckResult(
        passed=not damaged,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"originals_read": read, "damaged": len(damaged), "files": damaged[:DAYS_SHOWN]},
    )


# What a later change can break on days that no run is about: other days' rows, another encoder,
# other labels. What a row promises by itself cannot change after the run that wrote it.
AUDITS = [
    audit_of(ticket_ids_are_unique, "raw_tickets", WAREHOUSE_POOL),
    audit_of(every_clean_ticket_has_one_vector, "ticket_embeddings", WAREHOUSE_POOL),
    audit_of(vectors_come_from_one_encoder, "ticket_embeddings", WAREHOUSE_POOL),
    audit_of(collection_has_the_ids_of_the_table, "ticket_embeddings", COLLECTION_POOL),
    audit_of(every_clean_ticket_has_one_prediction, "ticket_predictions", WAREHOUSE_POOL),
    audit_of(predictions_are_in_the_label_set, "ticket_predictions", WAREHOUSE_POOL),
    audit_of(labels_hold, "ticket_predictions", WAREHOUSE_POOL),
    originals_are_as_they_landed,
    no_message_waits_too_long,
    no_day_is_left_half_way,
]

audit = dg.define_asset_job(
    "audit",
    selection=dg.AssetSelection.checks(*AUDITS),
    description="What the checks of a run promise of its days, asked of all days: it warns only.",
)
