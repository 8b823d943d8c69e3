"""raw_tickets and rejected_messages: what has landed, parsed day by day."""

from collections.abc import Iterable, Sequence
from datetime import date

import dagster as dg
import pandas as pd

from ticket_assets.defs.io_managers import record_origins
from ticket_assets.defs.landed_mail import unreported_mail
from ticket_assets.defs.partitions import (
    BACKFILLS,
    DAILY,
    Verdicts,
    daily_check,
    latest_materialisations,
    record_each_day,
    unpurged_days,
)
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.links_over_days import earlier_messages, later_days_with_other_conversations
from ticket_assets.mail.conversations import SUBJECT_DAYS, link_conversations
from ticket_assets.mail.landed_days import LANDED_FINGERPRINT, day_fingerprint, listed_fingerprints
from ticket_assets.mail.raw_tickets import raw_tickets as parse_landed
from ticket_assets.markdown import counts
from ticket_assets.planning.groups import MAIL
from ticket_assets.planning.recipe import CODE_VERSIONS, recipe
from ticket_assets.storage.day_origins import Origin, read_links, require_new_links

# raw_tickets, clean_tickets and drift_report reach back over days before, and have no arrow that
# says so. Dagster takes an arrow from an asset to itself for what has to be made together with it:
# one late mail would make a month anew. Elsewhere it splits a backfill into two runs, and for the
# drift it moves the end of a backfill by 30 days.


@dg.multi_asset(
    name="raw_tickets",
    outs={
        "raw_tickets": dg.AssetOut(
            description="One row per message that landed: ids, conversation, sender, subject and"
            f" whole bodies. Its conversation may have begun in the {SUBJECT_DAYS} days before. A"
            " fixed parser is a re-materialisation.",
            kinds={"duckdb", "pandas"},
            code_version=CODE_VERSIONS["raw_tickets"],
        ),
        "rejected_messages": dg.AssetOut(
            description="Messages of which no ticket could be made, each with the reason and the"
            " place of its bytes. They never disappear and never stop the day.",
            kinds={"duckdb", "pandas"},
            code_version=CODE_VERSIONS["rejected_messages"],
        ),
    },
    deps=["landed_mail"],
    partitions_def=DAILY,
    backfill_policy=BACKFILLS,
    group_name=MAIL,
    pool=WAREHOUSE_POOL,
)
def raw_tickets(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    days = unpurged_days(context)
    landing = desk.landing
    # Before reading: mail that lands meanwhile is then new to the sensor, read or not.
    present, links = recipe(desk), read_links(desk.warehouse)
    origins = {
        day: Origin(landed, present, links=links.get(day, ""))
        for day, landed in listed_fingerprints(landing, days).items()
    }
    record_origins(context, "raw_tickets", origins)
    for observation in unreported_mail(
        context.instance, {day: origin.landed for day, origin in origins.items()}
    ):
        context.log_event(observation)
    parsed = parse_landed(
        landing,
        days,
        max_message_bytes=desk.settings.max_message_mb * 1_000_000,
    )
    tickets = link_conversations(
        parsed.tickets,
        earlier_messages(desk.warehouse, days[0], parsed.tickets),
    )
    later = later_days_with_other_conversations(desk.warehouse, days, tickets)
    require_new_links(desk.warehouse, later, context.run_id)
    record_each_day(
        context,
        tickets,
        days,
        "raw_tickets",
        lambda _, rows: {
            "kinds": counts(rows["kind"]),
            "sources": counts(rows["source"]),
            "conversations": rows["thread_id"].nunique(),
        },
    )
    record_each_day(
        context,
        parsed.rejected,
        days,
        "rejected_messages",
        lambda _, rows: {"reasons": counts(rows["reason"])},
    )
    return tickets, parsed.rejected


def fingerprints_read(instance: dg.DagsterInstance, days: Iterable[date]) -> dict[date, str]:
    """The fingerprint of what raw_tickets read for each of the days when it last did."""
    return {
        day: str(materialised.metadata[LANDED_FINGERPRINT].value)
        for day, record in latest_materialisations(instance, "raw_tickets", days).items()
        if (materialised := record.asset_materialization)
        and LANDED_FINGERPRINT in materialised.metadata
    }


@daily_check(
    asset="raw_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="No two rows of raw_tickets have the same ticket_id.",
)
def ticket_ids_are_unique(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    rows = desk.warehouse.rows(
        "select received_at::date, list(distinct ticket_id) filter (times > 1) from"
        " (select received_at, ticket_id, count(*) over (partition by ticket_id) as times"
        " from raw_tickets where received_at::date between ? and ?) group by all",
        [days[0], days[-1]],
    )
    return {
        day: dg.AssetCheckResult(
            passed=not repeated,
            metadata={"repeated_ids": len(repeated or ()), "examples": sorted(repeated or ())[:5]},
        )
        for day, repeated in rows
    }


@daily_check(
    asset="raw_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every message that landed on a day is a ticket or a rejection of that same day:"
    " none is lost, none stands under another date.",
)
def received_dates_are_inside_the_partition(
    context: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    landing = desk.landing
    landed = landing.counts(day for day in landing.days() if days[0] <= day <= days[-1])
    stored = dict(
        desk.warehouse.rows(
            "select received_at::date as day, count(*) from (select received_at from raw_tickets"
            " union all select received_at from rejected_messages)"
            " where day between ? and ? group by all",
            [days[0], days[-1]],
        )
    )
    read = fingerprints_read(context.instance, landed)
    return {
        day: dg.AssetCheckResult(
            passed=messages == stored.get(day, 0)
            # Mail that has landed since the day was read is not lost: a later run will read it.
            or read.get(day) not in {None, day_fingerprint(landing, day)},
            metadata={"landed": messages, "in_the_tables": stored.get(day, 0)},
        )
        for day, messages in landed.items()
    }


@daily_check(
    asset="raw_tickets",
    pool=WAREHOUSE_POOL,
    description="The share of rejected messages is below TICKETS_REJECTED_SHARE_LIMIT.",
)
def rejected_share_is_low(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    limit = desk.settings.rejected_share_limit
    rows = desk.warehouse.rows(
        "with messages as (select received_at, false as rejected from raw_tickets"
        " union all select received_at, true from rejected_messages)"
        " select received_at::date as day, count(*) filter (rejected), count(*) from messages"
        " where day between ? and ? group by all",
        [days[0], days[-1]],
    )
    return {
        day: dg.AssetCheckResult(
            passed=rejected / messages <= limit,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "rejected": rejected,
                "messages": messages,
                "share": rejected / messages,
                "limit": limit,
            },
        )
        for day, rejected, messages in rows
    }
