"""review_queue: the tickets that wait for a person, as a table and as a CSV to fill in."""

import dagster as dg
import pandas as pd

from ticket_assets.defs.partitions import shown
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.drift.store import REVIEW_QUEUE, REVIEW_QUEUE_DAYS
from ticket_assets.markdown import counts
from ticket_assets.planning.groups import SORTING


@dg.asset(
    deps=["ticket_predictions", "ticket_labels", "ticket_classifier"],
    description=f"The tickets of the last {REVIEW_QUEUE_DAYS} days with mail that wait for a"
    " person, those first whose labels teach the most, with the categories that are likely. The"
    " reports folder has it as review_queue.csv: with its columns category and priority filled in,"
    " `tickets correct --file` and the drop folder take it.",
    group_name=SORTING,
    kinds={"duckdb", "csv"},
    code_version="1",
    pool=WAREHOUSE_POOL,
    # Before the drift, which comes last: a run that dies in between is made up for.
    op_tags={"dagster/priority": "1"},
)
def review_queue(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> pd.DataFrame:
    from ticket_assets.review_queue import ReviewError, publish_queue, queue_rows
    from ticket_assets.storage.tables import TABLES

    try:
        tickets = publish_queue(desk)
    except ReviewError:
        context.add_asset_metadata({"dagster/row_count": 0})
        return TABLES["review_queue"].frame([])
    context.add_asset_metadata(
        shown(
            {
                "dagster/row_count": len(tickets),
                "reasons": counts(tickets["reason"]),
                "languages": counts(tickets["language"]),
                "csv": f"{desk.reports.blobs.location}/{REVIEW_QUEUE}",
            }
        )
    )
    return queue_rows(tickets)
