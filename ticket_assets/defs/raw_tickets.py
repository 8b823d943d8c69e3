"""raw_tickets and rejected_messages: what has landed, parsed day by day."""

from collections.abc import Iterable
from datetime import date

import dagster as dg
import pandas as pd

from ticket_assets.defs.conventions import WAREHOUSE_POOL
from ticket_assets.defs.partitions import DAILY, SINGLE_RUN, days, run_window
from ticket_assets.defs.previews import counts, markdown_table, record_rows_per_day
from ticket_assets.desk import Desk
from ticket_assets.mail.conversations import (
    EARLIER_COLUMNS,
    first_earlier_day,
    link_conversations,
)
from ticket_assets.mail.landed_days import LANDED_FINGERPRINT, day_fingerprint
from ticket_assets.mail.raw_tickets import raw_tickets as parse_landed
from ticket_assets.storage.warehouse import Warehouse


@dg.multi_asset(
    name="raw_tickets",
    outs={
        "raw_tickets": dg.AssetOut(
            description="One row per message that landed: ids, conversation, sender, subject and"
            " whole bodies. A fixed parser is a re-materialisation.",
            kinds={"duckdb", "pandas"},
            code_version="2",
        ),
        "rejected_messages": dg.AssetOut(
            description="Messages of which no ticket could be made, each with the reason and the"
            " place of its bytes. They never disappear and never stop the day.",
            kinds={"duckdb", "pandas"},
            code_version="1",
        ),
    },
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    group_name="mail",
    pool=WAREHOUSE_POOL,
)
def raw_tickets(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    wanted = days(context)
    landing = desk.landing
    # Before reading: mail that lands meanwhile is then new to the sensor, read or not.
    for day in wanted:
        context.add_asset_metadata(
            {LANDED_FINGERPRINT: day_fingerprint(landing, day)},
            asset_key="raw_tickets",
            partition_key=day.isoformat(),
        )
    parsed = parse_landed(
        landing,
        wanted,
        max_message_bytes=desk.settings.max_message_mb * 1_000_000,
    )
    tickets = link_conversations(
        parsed.tickets,
        _earlier_messages(desk.warehouse, wanted[0], parsed.tickets),
    )
    record_rows_per_day(context, tickets["received_at"], wanted, "raw_tickets")
    record_rows_per_day(context, parsed.rejected["received_at"], wanted, "rejected_messages")
    context.add_asset_metadata(
        {
            "kinds": counts(tickets["kind"]),
            "sources": counts(tickets["source"]),
            "conversations": tickets["thread_id"].nunique(),
        },
        asset_key="raw_tickets",
    )
    context.add_asset_metadata(
        {"reasons": counts(parsed.rejected["reason"])}, asset_key="rejected_messages"
    )
    return tickets, parsed.rejected


def _earlier_messages(
    warehouse: Warehouse, first_day: date, messages: pd.DataFrame
) -> pd.DataFrame:
    """What was received before `first_day` and can share a conversation with `messages`."""
    if "raw_tickets" not in warehouse.tables():
        return pd.DataFrame(columns=list(EARLIER_COLUMNS))
    ids = pd.concat([messages[name] for name in ("message_id", "in_reply_to", "thread_id")])
    return warehouse.frame(
        f"select {', '.join(EARLIER_COLUMNS)} from raw_tickets"  # noqa: S608
        " where received_at < ? and (received_at >= ?"
        " or message_id in (from named) or in_reply_to in (from named)"
        " or thread_id in (from named))",
        [first_day, first_earlier_day(first_day)],
        {"named": pd.DataFrame({"id": ids.dropna().unique()}, dtype="str")},
    )


def fingerprints_read(instance: dg.DagsterInstance, days: Iterable[date]) -> dict[date, str]:
    """The fingerprint of what raw_tickets read for each of the days when it last did."""
    key = dg.AssetKey("raw_tickets")
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(
        key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        partitions={day.isoformat() for day in days},
    )
    if not latest:
        return {}
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(key, storage_ids=list(latest.values())), limit=len(latest)
    ).records
    return {
        date.fromisoformat(found.partition): str(found.metadata[LANDED_FINGERPRINT].value)
        for record in records
        if (found := record.asset_materialization)
        and found.partition
        and LANDED_FINGERPRINT in found.metadata
    }


@dg.asset_check(
    asset="raw_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="No two rows of raw_tickets have the same ticket_id.",
)
def ticket_ids_are_unique(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    twice = desk.warehouse.rows(
        "select ticket_id, count(*) as times from raw_tickets group by all having times > 1"
    )
    return dg.AssetCheckResult(
        passed=not twice,
        metadata={"repeated_ids": len(twice), "examples": [row[0] for row in twice[:5]]},
    )


@dg.asset_check(
    asset="raw_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every message that landed on the run's days is a ticket or a rejection of that"
    " same day: none is lost, none stands under another date.",
)
def received_dates_are_inside_the_partition(
    context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.AssetCheckResult:
    landing = desk.landing
    window = run_window(context.run.tags)
    landed = {
        day: landing.count(day)
        for day in landing.days()
        if day >= DAILY.start.date() and (window is None or window[0] <= day <= window[1])
    }
    stored = dict(
        desk.warehouse.rows(
            "select received_at::date, count(*) from (select received_at from raw_tickets"
            " union all select received_at from rejected_messages) group by all"
        )
    )
    read = fingerprints_read(context.instance, landed)
    wrong = [
        (day, count, stored.get(day, 0))
        for day, count in landed.items()
        if count != stored.get(day, 0)
        # Mail that has landed since the day was read is not lost: a run of its own will read it.
        and read.get(day) in {None, day_fingerprint(landing, day)}
    ]
    return dg.AssetCheckResult(
        passed=not wrong,
        metadata={
            "days": len(landed),
            "messages": sum(landed.values()),
            "days_that_differ": dg.MetadataValue.md(
                markdown_table(("day", "landed", "in the tables"), wrong[:10])
            ),
        },
    )


@dg.asset_check(
    asset="raw_tickets",
    pool=WAREHOUSE_POOL,
    description="The share of rejected messages is below TICKETS_REJECTED_SHARE_LIMIT.",
)
def rejected_share_is_low(
    context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.AssetCheckResult:
    first, last = run_window(context.run.tags) or (DAILY.start.date(), None)
    rejected, messages = desk.warehouse.row(
        "with messages as (select received_at, false as rejected from raw_tickets"
        " union all select received_at, true from rejected_messages)"
        " select count(*) filter (rejected), count(*) from messages"
        " where received_at::date >= ? and received_at::date <= coalesce(?, received_at)",
        [first, last],
    )
    share = rejected / messages if messages else 0.0
    return dg.AssetCheckResult(
        passed=share <= desk.settings.rejected_share_limit,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "rejected": rejected,
            "messages": messages,
            "share": share,
            "limit": desk.settings.rejected_share_limit,
        },
    )
