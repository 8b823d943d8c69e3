"""Makes runs and their Kubernetes Jobs agree where Dagster leaves them apart.

It marks a run as failed whose pod did not start in time, and leaves its Job (dagster#16535): the
pod would start one day after all, for a run that others have done meanwhile. And it does not look
at the pod of a run that has not begun: one that dies before waits for the start timeout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus
from kubernetes.client import ApiException, BatchV1Api, V1Job
from urllib3.exceptions import HTTPError

from ticket_assets.errors import TicketAssetsError
from ticket_assets.orchestration.living_runs import report_death
from ticket_assets.orchestration.run_pods import RunPodLauncher

RUN_LABEL = "dagster/run-id"
"""Dagster's launcher puts it on the Jobs of runs, and nothing else does."""
JOBS_AT_ONCE = 500
TIMEOUT_SECONDS = (5, 20)
"""To connect, and to read."""


class JobsError(TicketAssetsError):
    """Jobs cannot be read or removed."""


@dataclass(frozen=True)
class Reconciled:
    """What was done."""

    removed: list[str]
    """Jobs that were at work for runs that have ended or are gone."""
    failed: list[str]
    """Runs whose pod had ended before they began."""


def reconcile_jobs(instance: dg.DagsterInstance, now: datetime) -> Reconciled:
    """Removes Jobs whose run has ended, and fails runs whose Job has ended before they began.

    It takes one request where there is nothing to remove. A Job that has finished is removed by
    Kubernetes, with its log, after `ttlSecondsAfterFinished`.

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
        jobs = list(_jobs(api, namespace, launcher.labels))
        finished = [job for job in jobs if _has_finished(job)]
        # Before anything that may fail.
        failed = _fail_runs_that_never_began(instance, finished)
        at_work = [job for job in jobs if not _has_finished(job)]
        ended_before = now - timedelta(seconds=launcher.reap_after_seconds)
        removed = _superfluous(instance, at_work, ended_before, is_ours=bool(launcher.labels))
        for name in removed:
            _remove(api, namespace, name)
    return Reconciled(removed, failed)


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


def _fail_runs_that_never_began(
    instance: dg.DagsterInstance, finished: Sequence[V1Job]
) -> list[str]:
    names = {job.metadata.labels[RUN_LABEL]: job.metadata.name for job in finished}
    if not names:
        return []
    # A run that has begun, and ended, has said so before its Job finished.
    starting = [DagsterRunStatus.STARTING]
    runs = instance.get_runs(dg.RunsFilter(run_ids=list(names), statuses=starting))
    for run in runs:
        report_death(
            instance,
            run,
            "The pod of this run has ended before the run began: kubectl describe job"
            f" {names[run.run_id]}",
        )
    return [run.run_id for run in runs]


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
        f"Kubernetes does not give or remove the Jobs of runs in the namespace {namespace}:"
        f" {reason}. {advice}"
    )
