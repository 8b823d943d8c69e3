"""retrain_on_drift and weekly_retraining: when a new model is trained without anybody asking."""

from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from ticket_assets.defs.drift_report import realised_precision_is_within_target
from ticket_assets.defs.jobs import UNFINISHED, retrain, whole_graph
from ticket_assets.desk import Desk
from ticket_assets.planning.learning_record import write_new_labels
from ticket_assets.planning.retraining import LearningState, decide, learning_state
from ticket_assets.storage.warehouse import WarehouseError

REASON_TAG = "tickets/reason"
CANDIDATE = dg.AssetKey("candidate_classifier")


@dg.sensor(
    job=retrain,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Trains a new model when the mail has drifted and there are enough new labels, or"
    " when there are many new labels; not soon after a training. What keeps it from training"
    " stands in its ticks. automation predicts the last days anew if the model is promoted.",
)
def retrain_on_drift(
    context: dg.SensorEvaluationContext, desk: dg.ResourceParam[Desk]
) -> dg.RunRequest | dg.SkipReason:
    state = _state(context.instance, desk)
    if isinstance(state, dg.SkipReason):
        return state
    last = _last_training(context.instance)
    decision = decide(
        state,
        desk.settings,
        last,
        datetime.now(UTC),
        is_imprecise=_is_imprecise(context.instance, last),
    )
    if decision.key is None:
        return dg.SkipReason(decision.reason)
    return dg.RunRequest(run_key=decision.key, tags={REASON_TAG: decision.reason[:255]})


@dg.schedule(
    job=retrain,
    cron_schedule="30 1 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Trains a new model every Sunday, if there are new labels at all.",
)
def weekly_retraining(
    context: dg.ScheduleEvaluationContext, desk: dg.ResourceParam[Desk]
) -> dg.RunRequest | dg.SkipReason:
    state = _state(context.instance, desk)
    if isinstance(state, dg.SkipReason):
        return state
    if not state.new_labels:
        return dg.SkipReason("No new labels since the last training.")
    return dg.RunRequest(tags={REASON_TAG: f"{state.new_labels:,} new labels since last week"})


def _state(instance: dg.DagsterInstance, desk: Desk) -> LearningState | dg.SkipReason:
    """What there is to learn from, or why that cannot be said now."""
    for job in (retrain, whole_graph):
        if instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=UNFINISHED), limit=1):
            return dg.SkipReason("A training is at work.")
    try:
        state = learning_state(desk.for_ticks)
    except WarehouseError as error:
        return dg.SkipReason(f"{error} The next look decides.")
    write_new_labels(desk.cursors, state.new_labels)
    return state


def _last_training(instance: dg.DagsterInstance) -> datetime | None:
    records = instance.fetch_materializations(CANDIDATE, limit=1).records
    return datetime.fromtimestamp(records[0].timestamp, UTC) if records else None


def _is_imprecise(instance: dg.DagsterInstance, last_training: datetime | None) -> bool:
    """Whether the check of labelled automatic tickets has failed since the last training."""
    history = instance.event_log_storage.get_asset_check_execution_history(
        realised_precision_is_within_target.check_key, limit=1
    )
    since = last_training.timestamp() if last_training else 0.0
    return any(
        record.status == AssetCheckExecutionRecordStatus.FAILED and record.create_timestamp > since
        for record in history
    )
