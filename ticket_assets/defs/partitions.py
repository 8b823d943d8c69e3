"""Daily partitions by the UTC date on which mail was received, and checks that judge by day."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from ticket_assets.desk import Desk
from ticket_assets.markdown import Markdown, markdown_table
from ticket_assets.settings import load_settings

if TYPE_CHECKING:
    import pandas as pd

    from ticket_assets.storage.warehouse import Warehouse


EARLIER_MAIL = timedelta(days=365)


def first_day(desk: Desk) -> date:
    """The first processed day: the setting, else the first import's.

    It does not move when mail is purged: what the days have become keeps its place in the graph.
    A desk without mail starts `EARLIER_MAIL` before today (UTC), so that its first mail is sorted
    although Dagster has loaded the days before.
    """
    return desk.first_day or datetime.now(UTC).date() - EARLIER_MAIL


DESK = Desk(load_settings())
"""The desk of this code location. Its settings and its first day are read here, when Dagster loads
the definitions, and nowhere else in `defs/`."""

# Today's mail is sorted today, so the day under way has its partition too (end_offset=1).
DAILY = dg.DailyPartitionsDefinition(
    start_date=first_day(DESK).isoformat(), timezone="UTC", end_offset=1
)
BACKFILLS = (
    dg.BackfillPolicy.multi_run(DESK.settings.run_days)
    if DESK.settings.run_days
    else dg.BackfillPolicy.single_run()
)


def days_of_run(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[date]:
    """The days that this run is about, in order."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def unpurged_days(context: dg.AssetExecutionContext) -> list[date]:
    """The same for what is made from whole texts.

    Raises:
        LandingError: a day's original mail was purged. Its rows would be made from texts that are
            gone; what was made of them before can be worked on for ever.
    """
    days = days_of_run(context)
    context.resources.desk.landing.refuse_purged(days[0])
    return days


def latest_materialisations(
    instance: dg.DagsterInstance, asset: str, days: Iterable[date]
) -> dict[date, dg.EventLogRecord]:
    """The latest materialisation of the asset for each of the days that has one."""
    key = dg.AssetKey(asset)
    partitions = {day.isoformat() for day in days}
    # Without any, Dagster would take all.
    latest = partitions and instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions=partitions
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


def shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures as metadata that the UI shows, with what is Markdown set as such."""
    return {
        name: dg.MetadataValue.md(value) if isinstance(value, Markdown) else value
        for name, value in figures.items()
    }


def record_each_day(
    context: dg.AssetExecutionContext,
    rows: "pd.DataFrame",
    days: Iterable[date],
    asset: str,
    describe: Callable[[date, "pd.DataFrame"], Mapping[str, Any]] = lambda _day, _rows: {},
) -> None:
    """Give each day's materialisation its own row count and figures; a run may cover many days.

    Args:
        rows: with `received_at`; `describe` gets those of a day, none where nothing was received.
    """
    received = dict(iter(rows.groupby(rows["received_at"].dt.date)))
    for day in days:
        of_day = received.get(day, rows[:0])
        context.add_asset_metadata(
            {"dagster/partition_row_count": len(of_day), **shown(describe(day, of_day))},
            asset_key=asset,
            partition_key=day.isoformat(),
        )


Verdicts = Mapping[date, dg.AssetCheckResult]
"""A day without a verdict has nothing to be judged, and passes."""

Judge = Callable[[dg.AssetCheckExecutionContext, Desk, Sequence[date]], Verdicts]
"""Judges the days from the first to the last of those given, and reads no row of another day."""

NIGHTLY: dg.AutomationCondition[Any] = (
    dg.AutomationCondition.cron_tick_passed("0 3 * * *").since(
        dg.AutomationCondition.newly_requested()
    )
    & ~dg.AutomationCondition.any_deps_in_progress()
).with_label("at 03:00 UTC, or when the run that is at work then has ended")

ALL_DAYS = (date.min, date.max)
DAYS_SHOWN = 10
NOTHING_RECEIVED = dg.AssetCheckResult(passed=True, description="Nothing was received.")

_judges: dict[dg.AssetCheckKey, Judge] = {}


def daily_check(
    *, asset: str, pool: str | None, description: str, blocking: bool = False
) -> Callable[[Judge], dg.AssetChecksDefinition]:
    """Makes an asset check of a function that judges days.

    A run of many days is one step, whose single `AssetCheckResult` would belong to no day: neither
    the UI's partitions nor automation conditions would see it. The step therefore reports an
    evaluation for each day, and names the materialisation that it has judged, without which Dagster
    takes an evaluation for one of an earlier state. The check's page in the UI opens on the last
    day, so that one says how it was on the latest day with mail when it has none itself.
    """

    def decorate(judge: Judge) -> dg.AssetChecksDefinition:
        key = dg.AssetCheckKey(dg.AssetKey(asset), judge.__name__)

        def evaluate(
            context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
        ) -> Iterator[dg.Output[None] | dg.AssetCheckEvaluation]:
            days = _days(context)
            verdicts = judge(context, desk, days)
            if verdicts and days[-1] not in verdicts:
                verdicts = {**verdicts, days[-1]: _after_last_mail(verdicts)}
            materialised = latest_materialisations(context.instance, asset, days)
            yield dg.Output(None)
            for day in days:
                verdict = verdicts.get(day, NOTHING_RECEIVED)
                record = materialised.get(day)
                yield dg.AssetCheckEvaluation(
                    asset_key=key.asset_key,
                    check_name=key.name,
                    passed=verdict.passed,
                    metadata=verdict.metadata,
                    severity=verdict.severity,
                    description=verdict.description,
                    blocking=blocking,
                    partition=day.isoformat(),
                    target_materialization_data=record
                    and AssetCheckEvaluationTargetMaterializationData(
                        storage_id=record.storage_id,
                        run_id=record.run_id,
                        timestamp=record.timestamp,
                    ),
                )

        _judges[key] = judge
        return dg.asset_check(
            asset=asset,
            name=judge.__name__,
            description=description,
            blocking=blocking,
            pool=pool,
            partitions_def=DAILY,
        )(evaluate)  # type: ignore[arg-type]  # its type names the single result alone

    return decorate


def _after_last_mail(verdicts: Verdicts) -> dg.AssetCheckResult:
    """The verdict of a day without mail, with the figures of the latest day that has some."""
    latest = max(verdicts)
    verdict = verdicts[latest]
    return dg.AssetCheckResult(
        passed=True,
        description=f"Nothing was received. On {latest}, the latest day with mail, this check"
        f" {'passed' if verdict.passed else 'failed'}. {verdict.description or ''}".rstrip(),
        metadata={"latest_day_with_mail": latest.isoformat(), **verdict.metadata},
    )


def audit_of(
    check: dg.AssetChecksDefinition, table: str, pool: str | None
) -> dg.AssetChecksDefinition:
    """The same promise of all days together, as a warning; every night, when no run is at work.

    The condition also keeps it out of the runs that automation starts for a day.

    It is kept as long as there is no `table`, as on a desk that has collected mail only.
    """
    judge, spec = _judges[check.check_key], next(iter(check.check_specs))

    @dg.asset_check(
        asset=spec.asset_key,
        name=f"{spec.name}_on_all_days",
        description=f"{spec.description} Of all days together, by the nightly audit.",
        pool=pool,
        automation_condition=NIGHTLY,
    )
    def audit(
        context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
    ) -> dg.AssetCheckResult:
        audited = table in desk.warehouse.tables()
        verdicts = judge(context, desk, ALL_DAYS) if audited else {}
        failed = {day: verdict for day, verdict in sorted(verdicts.items()) if not verdict.passed}
        return dg.AssetCheckResult(
            passed=not failed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "days": len(verdicts),
                "days_that_fail": len(failed),
                "first_that_fail": dg.MetadataValue.md(
                    markdown_table(
                        ("day", "why"),
                        (
                            (day, {name: value.value for name, value in verdict.metadata.items()})
                            for day, verdict in list(failed.items())[:DAYS_SHOWN]
                        ),
                    )
                ),
            },
        )

    return audit


def one_row_per_ticket(
    warehouse: "Warehouse", days: Sequence[date], table: str, rows: str, same: Sequence[str]
) -> Verdicts:
    """Whether each clean ticket has one row in `table` that agrees in the columns `same`."""
    counted = warehouse.rows(
        "select received_at::date as day,"  # noqa: S608
        " sum(ticket)::int, sum(own)::int, sum(paired)::int from ("
        "select received_at, 1 as ticket, 0 as own, 0 as paired from clean_tickets"
        f" union all select received_at, 0, 1, 0 from {table}"
        " union all select received_at, 0, 0, 1 from clean_tickets"
        f" join {table} using (received_at, {', '.join(same)}))"
        " where day between ? and ? group by all",
        [days[0], days[-1]],
    )
    return {
        day: dg.AssetCheckResult(
            passed=tickets == own == paired,
            metadata={"clean_tickets": tickets, rows: own, "paired": paired},
        )
        for day, tickets, own, paired in counted
    }


def _days(context: dg.AssetCheckExecutionContext) -> list[date]:
    """The days of the run; all days when it names none."""
    if context.has_partition_key or context.has_partition_key_range:
        return days_of_run(context)
    return [date.fromisoformat(key) for key in DAILY.get_partition_keys()]
