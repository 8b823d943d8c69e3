"""delivered_tickets: decisions handed over to the desk's own systems, and again where they wait."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from ticket_assets.defs.jobs import UNFINISHED, deliver
from ticket_assets.defs.partitions import (
    BACKFILLS,
    DAILY,
    Verdicts,
    daily_check,
    days_of_run,
    record_each_day,
)
from ticket_assets.defs.pools import DELIVERY_POOL, WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.errors import TicketAssetsError
from ticket_assets.markdown import counts, markdown_table
from ticket_assets.planning.groups import DELIVERY

if TYPE_CHECKING:
    import pandas as pd

DELIVERIES = "deliveries"
"""Metadata of a run: the numbers of tickets by receiver and by what came of them."""
REASONS_SHOWN = 10


@dg.asset(
    deps=["ticket_predictions", "ticket_labels"],
    description="Each decision handed over once to the receivers that are set (TICKETS_DELIVERY_*):"
    " not what a person has decided, nor in shadow mode, nor what came before a receiver was set."
    " Each run tells all that waits, of whatever day. `tickets delivery stop` stops it.",
    partitions_def=DAILY,
    backfill_policy=BACKFILLS,
    group_name=DELIVERY,
    kinds={"duckdb"},
    code_version="1",
    pool=DELIVERY_POOL,
)
def delivered_tickets(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.MaterializeResult[None]:
    from ticket_assets.delivery.handover import hand_over
    from ticket_assets.delivery.overview import delivery_overview

    days = days_of_run(context)
    handovers = hand_over(desk, log=context.log.info)
    overview = delivery_overview(desk)
    record_each_day(context, _rows(desk, days), days, "delivered_tickets", _of_day)
    figures = {
        receiver.name: markdown_table(
            ("delivered", "wait", "refused", "decided by people", "told by this run", "why not"),
            [
                (
                    receiver.delivered,
                    receiver.waiting,
                    receiver.refused,
                    receiver.people,
                    sum(handovers[receiver.name].outcomes.values())
                    if receiver.name in handovers
                    else 0,
                    receiver.problem or "; ".join(list(receiver.reasons)[:REASONS_SHOWN]),
                )
            ],
        )
        for receiver in overview.receivers
    }
    return dg.MaterializeResult(
        metadata={
            "receivers": len(overview.receivers),
            "stopped": overview.stopped_at or "no",
            "shadow_mode": overview.shadow_mode,
            # For the exporter, which must not wait for the warehouse.
            DELIVERIES: {
                receiver.name: {
                    "delivered": receiver.delivered,
                    "waiting": receiver.waiting,
                    "refused": receiver.refused,
                    "people": receiver.people,
                }
                for receiver in overview.receivers
            },
            **{name: dg.MetadataValue.md(table) for name, table in figures.items()},
        }
    )


def _rows(desk: Desk, days: Sequence[date]) -> "pd.DataFrame":
    from ticket_assets.storage.tables import TABLES

    if "delivered_tickets" not in desk.warehouse.tables():
        return TABLES["delivered_tickets"].frame([])
    return desk.warehouse.frame(
        "select received_at, receiver, outcome, reason from delivered_tickets"
        " where received_at::date between ? and ?",
        [days[0], days[-1]],
    )


def _of_day(_: date, rows: "pd.DataFrame") -> Mapping[str, Any]:
    return {
        "outcomes": counts(rows["receiver"] + ": " + rows["outcome"]),
        "reasons": counts(rows["reason"].dropna()),
    }


@daily_check(
    asset="delivered_tickets",
    pool=WAREHOUSE_POOL,
    description="No delivered ticket had a person's label before it was delivered. A label that the"
    " desk learnt of later than it was given can make it fail: then look at the ticket there.",
)
def nothing_is_delivered_over_a_persons_label(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    return _judged(
        desk,
        days,
        "outcome in ('delivered', 'already_there') and ticket_id in"
        " (select ticket_id from ticket_labels where labelled_at < intended_at)",
    )


@daily_check(
    asset="delivered_tickets",
    pool=WAREHOUSE_POOL,
    description="No decision waits for a receiver, or is refused by it, for longer than"
    " TICKETS_LATE_AFTER_MINUTES.",
)
def no_decision_waits_too_long(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    since = datetime.now(UTC) - timedelta(minutes=desk.settings.late_after_minutes)
    return _judged(
        desk,
        days,
        "outcome in ('sending', 'failed', 'unknown', 'refused') and intended_at <"
        f" timestamp '{since:%Y-%m-%d %H:%M:%S}'",
    )


def _judged(desk: Desk, days: Sequence[date], condition: str) -> Verdicts:
    """Days pass that have no row of which the condition is true."""
    if "delivered_tickets" not in desk.warehouse.tables():
        return {}
    rows = desk.warehouse.rows(
        f"select received_at::date as day, count(*), count(*) filter ({condition})"  # noqa: S608
        " from delivered_tickets where day between ? and ? group by all",
        [days[0], days[-1]],
    )
    return {
        day: dg.AssetCheckResult(
            passed=not failing,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"tickets": tickets, "failing": failing},
        )
        for day, tickets, failing in rows
    }


@dg.sensor(
    job=deliver,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has decisions that wait for a receiver told again when it is time for it.",
)
def waiting_deliveries(
    context: dg.SensorEvaluationContext, desk: dg.ResourceParam[Desk]
) -> dg.RunRequest | dg.SkipReason:
    from ticket_assets.delivery.overview import first_due_day

    if context.instance.get_runs(
        dg.RunsFilter(job_name=deliver.name, statuses=UNFINISHED), limit=1
    ):
        return dg.SkipReason("A run hands over.")
    try:
        day = first_due_day(desk.for_ticks)
    except TicketAssetsError as error:
        return dg.SkipReason(f"{error} The next look decides.")
    if day is None:
        return dg.SkipReason("Nothing waits.")
    first, last = max(day, DAILY.start.date()).isoformat(), DAILY.get_last_partition_key()
    if first == last:
        return dg.RunRequest(partition_key=last)
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return dg.RunRequest(tags=tags)
