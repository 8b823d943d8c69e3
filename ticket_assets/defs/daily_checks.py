"""Checks of what is made by day: one verdict for each day of the run, and the same for all days."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from ticket_assets.defs.partitions import DAILY, latest_materialisations
from ticket_assets.defs.previews import markdown_table
from ticket_assets.desk import Desk
from ticket_assets.storage.warehouse import Warehouse

Verdicts = Mapping[date, dg.AssetCheckResult]
"""A day without a verdict has nothing to be judged, and passes."""

Judge = Callable[[dg.AssetCheckExecutionContext, Desk, Sequence[date]], Verdicts]
"""Judges the days from the first to the last of those given, and reads no row of another day."""

ALL_DAYS = (date.min, date.max)
DAYS_SHOWN = 10
NOTHING_RECEIVED = dg.AssetCheckResult(passed=True, description="Nothing was received.")

_judges: dict[dg.AssetCheckKey, Judge] = {}


def daily_check(
    *, asset: str, pool: str, description: str, blocking: bool = False
) -> Callable[[Judge], dg.AssetChecksDefinition]:
    """Makes an asset check of a function that judges days.

    A run of many days is one step, whose single `AssetCheckResult` would belong to no day: neither
    the UI's partitions nor automation conditions would see it. The step therefore reports an
    evaluation for each day, and names the materialisation that it has judged, without which Dagster
    takes an evaluation for one of an earlier state.
    """

    def decorate(judge: Judge) -> dg.AssetChecksDefinition:
        key = dg.AssetCheckKey(dg.AssetKey(asset), judge.__name__)

        def evaluate(
            context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
        ) -> Iterator[dg.Output[None] | dg.AssetCheckEvaluation]:
            days = _days(context)
            verdicts = judge(context, desk, days)
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


def audit_of(check: dg.AssetChecksDefinition, table: str, pool: str) -> dg.AssetChecksDefinition:
    """The same promise of all days together, as a warning; for times when no run is at work.

    It is kept as long as there is no `table`, as on a desk that has collected mail only.
    """
    judge, spec = _judges[check.check_key], next(iter(check.check_specs))

    @dg.asset_check(
        asset=spec.asset_key,
        name=f"{spec.name}_on_all_days",
        description=f"{spec.description} Of all days together, by the nightly audit.",
        pool=pool,
    )
    def audit(
        context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
    ) -> dg.AssetCheckResult:
        audited = table in desk.warehouse.tables()
        verdicts = judge(context, desk, ALL_DAYS) if audited else {}
        failed = {day: verdict for day, verdict in sorted(verdicts.items()) if not verdict.passed}
        shown = list(failed.items())[:DAYS_SHOWN]
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
                            for day, verdict in shown
                        ),
                    )
                ),
            },
        )

    return audit


def one_row_per_ticket(
    warehouse: Warehouse, days: Sequence[date], table: str, rows: str, same: Sequence[str]
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
    of_run = context.has_partition_key or context.has_partition_key_range
    keys = context.partition_keys if of_run else DAILY.get_partition_keys()
    return [date.fromisoformat(key) for key in keys]
