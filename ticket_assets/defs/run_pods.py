"""reap_jobs: where each run gets a pod, removes the Jobs that Dagster leaves behind."""

from datetime import UTC, datetime

import dagster as dg

from ticket_assets.orchestration.launcher import process_instance, starts_pods


def _reap(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    from ticket_assets.orchestration.run_jobs import remove_jobs_of_ended_runs

    removed = remove_jobs_of_ended_runs(context.instance, datetime.now(UTC))
    return dg.SkipReason(f"Removed: {', '.join(removed)}." if removed else "No Job is left behind.")


_instance = process_instance()
reap_jobs = (
    dg.sensor(
        name="reap_jobs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Removes the Kubernetes Jobs that are still at work, or wait for a node, some"
        " minutes after their run has ended or was removed.",
    )(_reap)
    if _instance and starts_pods(_instance)
    else None
)
"""No other desk has this sensor."""
