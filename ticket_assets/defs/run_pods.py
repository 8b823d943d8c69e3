"""reap_jobs: where each run gets a pod, makes runs and the Jobs of their pods agree."""

from datetime import UTC, datetime

import dagster as dg

from ticket_assets.orchestration.launcher import process_instance, starts_pods


def _reap(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    from ticket_assets.orchestration.run_jobs import reconcile_jobs

    done = reconcile_jobs(context.instance, datetime.now(UTC))
    notes = []
    if done.removed:
        notes.append(f"Removed: {', '.join(done.removed)}.")
    if done.failed:
        notes.append(f"Failed, since their pods ended before they began: {', '.join(done.failed)}.")
    return dg.SkipReason(" ".join(notes) or "Each Job at work has a run at work.")


_instance = process_instance()
reap_jobs = (
    dg.sensor(
        name="reap_jobs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Removes the Kubernetes Jobs that are still at work, or wait for a node, some"
        " minutes after their run has ended or was removed. Fails runs whose pod ended before they"
        " began.",
    )(_reap)
    if _instance and starts_pods(_instance)
    else None
)
"""No other desk has this sensor."""
