"""Daily partitions by the UTC date on which a message was received."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

import dagster as dg

from ticket_assets.desk import Desk
from ticket_assets.settings import load_settings


def first_day(desk: Desk) -> date:
    """The first processed day: the setting, else the first import's, else today (UTC).

    It does not move when mail is purged: what the days have become keeps its place in the graph.
    """
    return desk.first_day or datetime.now(UTC).date()


DESK = Desk(load_settings())
"""The desk of this code location. Its settings and its first day are read here, when Dagster loads
the definitions, and nowhere else in `defs/`."""

# Today's mail is sorted today, so the day under way has its partition too (end_offset=1).
DAILY = dg.DailyPartitionsDefinition(
    start_date=first_day(DESK).isoformat(), timezone="UTC", end_offset=1
)
SINGLE_RUN = dg.BackfillPolicy.single_run()


def days(context: dg.AssetExecutionContext) -> list[date]:
    """The days that this run materialises, in order."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def unpurged_days(context: dg.AssetExecutionContext) -> list[date]:
    """The same for what is made from whole texts.

    Raises:
        LandingError: a day's original mail was purged. Its rows would be made from texts that are
            gone; what was made of them before can be worked on for ever.
    """
    wanted = days(context)
    context.resources.desk.landing.refuse_purged(wanted[0])
    return wanted


def latest_materialisations(
    instance: dg.DagsterInstance, asset: str, days: Iterable[date]
) -> dict[date, dg.EventLogRecord]:
    """The latest materialisation of the asset for each of the days that has one."""
    key = dg.AssetKey(asset)
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
    return {date.fromisoformat(str(record.partition_key)): record for record in records}


def run_window(tags: Mapping[str, str]) -> tuple[date, date] | None:
    """First and last day that a run with these tags is about; None when it is about no day."""
    single = tags.get("dagster/partition")
    first = tags.get("dagster/asset_partition_range_start", single)
    last = tags.get("dagster/asset_partition_range_end", single)
    if first is None or last is None:
        return None
    return date.fromisoformat(first), date.fromisoformat(last)
