"""Whether mail waits too long, or automation has stopped: judged every minute, in no run.

A freshness policy looks at an asset's last materialisation, whichever day it was of: an old day
that is made anew hides that today's mail waits. These checks hold the promise itself.
"""

import json
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from ticket_assets.defs.partitions import NIGHTLY, latest_materialisations
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.planning.late_mail import late_mail
from ticket_assets.storage.warehouse import WarehouseError

PREDICTIONS = "ticket_predictions"
FOLLOWERS = {
    "raw_tickets": "clean_tickets",
    "clean_tickets": "ticket_embeddings",
    "ticket_embeddings": "ticket_collection",
    "ticket_collection": PREDICTIONS,
    PREDICTIONS: "drift_metrics",
}
DAYS_SHOWN = 10


@dg.asset_check(
    asset=PREDICTIONS,
    pool=WAREHOUSE_POOL,
    automation_condition=NIGHTLY,
    description="No landed message has waited for a prediction for longer than"
    " TICKETS_LATE_AFTER_MINUTES. A night without mail is no fault.",
)
def no_message_waits_too_long(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    return _judge_messages(desk)


@dg.asset_check(
    asset=PREDICTIONS,
    automation_condition=NIGHTLY,
    description="No asset of a day is newer than the one that follows it for longer than"
    " TICKETS_LATE_AFTER_MINUTES. It warns when automation has stopped in silence, or when a failed"
    " check or run keeps a day back.",
)
def no_day_is_left_half_way(
    context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.AssetCheckResult:
    return _judge_days(context.instance, desk)


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Judges every minute whether a message waits too long for its prediction, and"
    " whether a day is left half way. A verdict is recorded when it changes, and once a day.",
)
def lateness(
    context: dg.SensorEvaluationContext, desk: dg.ResourceParam[Desk]
) -> dg.SensorResult | dg.SkipReason:
    try:
        verdicts = [
            (no_message_waits_too_long.check_key, _judge_messages(desk.for_ticks)),
            (no_day_is_left_half_way.check_key, _judge_days(context.instance, desk)),
        ]
    except WarehouseError as error:
        return dg.SkipReason(f"{error} The next look judges.")
    today = datetime.now(UTC).date().isoformat()
    recorded = {key.name: [verdict.passed, today] for key, verdict in verdicts}
    former = json.loads(context.cursor) if context.cursor else {}
    late = [key.name for key, verdict in verdicts if not verdict.passed]
    return dg.SensorResult(
        skip_reason=f"It does not hold: {', '.join(late)}." if late else "Nothing is late.",
        asset_events=[
            dg.AssetCheckEvaluation(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=verdict.passed,
                severity=verdict.severity,
                metadata=verdict.metadata,
            )
            for key, verdict in verdicts
            if former.get(key.name) != recorded[key.name]
        ],
        cursor=json.dumps(recorded),
    )


def _judge_messages(desk: Desk) -> dg.AssetCheckResult:
    late = late_mail(desk, datetime.now(UTC))
    return dg.AssetCheckResult(
        passed=not late.messages,
        metadata={
            "late_messages": late.messages,
            "days": [f"{day}: {count}" for day, count in late.by_day.items()][:DAYS_SHOWN],
            "waiting_since": late.landed_at.isoformat(" ", "minutes") if late.landed_at else "",
        },
    )


def _judge_days(instance: dg.DagsterInstance, desk: Desk) -> dg.AssetCheckResult:
    patience = timedelta(minutes=desk.settings.late_after_minutes)
    left = sorted(
        f"{day}: {asset} is newer than {FOLLOWERS[asset]}"
        for asset, days in days_left_half_way(instance, datetime.now(UTC) - patience).items()
        for day in days
    )
    return dg.AssetCheckResult(
        passed=not left,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"left_half_way": len(left), "days": left[:DAYS_SHOWN]},
    )


def days_left_half_way(instance: dg.DagsterInstance, limit: datetime) -> dict[str, list[date]]:
    """By asset, the days on which it was made before `limit` (aware) and is newer than the one that
    follows it."""
    latest = {
        asset: instance.event_log_storage.get_latest_storage_id_by_partition(
            dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        for asset in {*FOLLOWERS, *FOLLOWERS.values()}
    }
    left = {}
    for asset, follower in FOLLOWERS.items():
        # A desk without champion has never made what needs one.
        behind = [
            date.fromisoformat(day)
            for day, storage_id in latest[asset].items()
            if latest[follower] and storage_id > latest[follower].get(day, 0)
        ]
        left[asset] = [
            day
            for day, record in latest_materialisations(instance, asset, behind).items()
            if record.timestamp < limit.timestamp()
        ]
    return left
