"""Removes the Kubernetes Jobs of runs that have ended without them.

Dagster marks a run as failed whose pod did not start in time, and leaves its Job (dagster#16535):
the pod would start one day after all, for a run that others have done meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import dagster as dg
from kubernetes.client import ApiException, BatchV1Api, V1Job
from urllib3.exceptions import HTTPError

from ticket_assets.errors import TicketAssetsError
from ticket_assets.orchestration.run_pods import RunPodLauncher

RUN_LABEL = "dagster/run-id"
"""Dagster's launcher puts it on the Jobs of runs, and nothing else does."""
JOBS_AT_ONCE = 500
TIMEOUT_SECONDS = (5, 20)
"""To connect, and to read."""


class JobsError(TicketAssetsError):
    """Jobs cannot be removed."""


def remove_jobs_of_ended_runs(instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """Removes the Jobs that are at work for runs that have ended or are gone; returns their names.

    It takes one request where there is none. A Job that has finished is removed by Kubernetes,
    with its log, after `ttlSecondsAfterFinished`.

    Raises:
        JobsError: the API does not allow it or does not answer, or runs get no pods of ours.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, RunPodLauncher):
        raise JobsError(
            f"dagster.yaml starts runs by {type(launcher).__name__}. Name"
            f" {RunPodLauncher.__module__} and {RunPodLauncher.__name__} there, with the same"
            " configuration."
        )
    api, namespace = BatchV1Api(), launcher.job_namespace  # the launcher has said where the API is
    with _explained(namespace):
        at_work = [job for job in _jobs(api, namespace, launcher.labels) if not _has_finished(job)]
        ended_before = now - timedelta(seconds=launcher.reap_after_seconds)
        superfluous = _superfluous(instance, at_work, ended_before, is_ours=bool(launcher.labels))
        for name in superfluous:
            _remove(api, namespace, name)
    return superfluous


def _jobs(api: BatchV1Api, namespace: str, labels: Mapping[str, str]) -> Iterator[V1Job]:
    selector = ",".join([RUN_LABEL, *(f"{name}={value}" for name, value in labels.items())])
    following = None
    while following != "":
        page = api.list_namespaced_job(
            namespace,
            label_selector=selector,
            limit=JOBS_AT_ONCE,
            _continue=following,
            _request_timeout=TIMEOUT_SECONDS,
        )
        yield from page.items
        following = page.metadata._continue or ""


def _has_finished(job: V1Job) -> bool:
    return any(
        condition.type in {"Complete", "Failed"} and condition.status == "True"
        for condition in job.status.conditions or ()
    )


def _superfluous(
    instance: dg.DagsterInstance, jobs: Sequence[V1Job], ended_before: datetime, *, is_ours: bool
) -> list[str]:
    """The names of the Jobs whose run ended before then, or is not there any more.

    Args:
        is_ours: all Jobs are of runs of this instance, also where the run is not known.
    """
    run_ids = [job.metadata.labels[RUN_LABEL] for job in jobs]
    records = instance.get_run_records(dg.RunsFilter(run_ids=run_ids)) if run_ids else ()
    runs = {record.dagster_run.run_id: record for record in records}
    superfluous = []
    for job, run_id in zip(jobs, run_ids, strict=True):
        record = runs.get(run_id)
        if record is None:
            ended_at = job.metadata.creation_timestamp if is_ours else None
        else:
            ended_at = _ended_at(record)
        if ended_at and ended_at < ended_before:
            superfluous.append(job.metadata.name)
    return superfluous


def _ended_at(record: dg.RunRecord) -> datetime | None:
    if not record.dagster_run.is_finished:
        return None
    if record.end_time:
        return datetime.fromtimestamp(record.end_time, UTC)
    return record.update_timestamp.replace(tzinfo=UTC)


def _remove(api: BatchV1Api, namespace: str, name: str) -> None:
    try:
        # With its pods, which Kubernetes would keep otherwise.
        api.delete_namespaced_job(
            name,
            namespace,
            propagation_policy="Background",
            _request_timeout=TIMEOUT_SECONDS,
        )
    except ApiException as error:
        if error.status != 404:  # it has been removed meanwhile
            raise


@contextmanager
def _explained(namespace: str) -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        reason = f"it answers {error.status} {error.reason}"
        advice = "The next look tries again."
        if error.status in {401, 403}:
            advice = "Let the code location's service account list and delete Jobs there."
    except HTTPError as error:
        reason, advice = f"{error}", "The next look tries again."
    else:
        return
    raise JobsError(
        "Kubernetes does not remove the Jobs of ended runs in the namespace"
        f" {namespace}: {reason}. {advice}"
    )
