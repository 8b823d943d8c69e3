"""Jobs are removed that are still at work when their run has ended, and no others; runs fail whose
Job has ended before they began."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.execution.retries import auto_reexecution_should_retry_run

from tests.orchestration.jobs_api import JOBS, JobsApi
from ticket_assets.orchestration.run_jobs import JobsError, reconcile_jobs
from ticket_assets.orchestration.run_pods import REAP_AFTER_SECONDS

OURS = {"release": "ours"}


def now(seconds: float = 0) -> datetime:
    """So many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def later() -> datetime:
    """When the Job of a run that has just ended may go."""
    return now(REAP_AFTER_SECONDS + 1)


@dg.job
def nothing() -> None:
    pass


@pytest.fixture
def instance(
    instance_of_pods: Callable[..., AbstractContextManager[dg.DagsterInstance]],
) -> Iterator[dg.DagsterInstance]:
    with instance_of_pods(labels=OURS) as instance:
        yield instance


def run_of(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> str:
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTING)
    if status == dg.DagsterRunStatus.FAILURE:
        instance.report_run_failed(run)
    elif status == dg.DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run)
    return run.run_id


def removed(instance: dg.DagsterInstance, at: datetime) -> list[str]:
    done = reconcile_jobs(instance, at)
    assert not done.failed
    return done.removed


def requests(api: JobsApi) -> list[str]:
    return [request.partition("?")[0] for request in api.requests]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_the_job_of_an_ended_run_is_removed_with_its_pods(
    instance: dg.DagsterInstance, api: JobsApi, status: dg.DagsterRunStatus
) -> None:
    name = api.add(run_of(instance, status), now(), **OURS)

    assert removed(instance, later()) == [name]
    assert not api.jobs
    assert requests(api) == [f"GET {JOBS}", f"DELETE {JOBS}/{name}"]
    assert "propagationPolicy=Background" in api.requests[1]


def test_the_job_of_a_run_that_was_deleted_is_removed(
    instance: dg.DagsterInstance, api: JobsApi
) -> None:
    name = api.add(str(uuid4()), now(), **OURS)

    assert removed(instance, later()) == [name]


@pytest.mark.slow
def test_other_jobs_stay(instance: dg.DagsterInstance, api: JobsApi) -> None:
    """Those at work, those whose run has just ended, those that have finished, and those of another
    desk in the namespace."""
    failed = dg.DagsterRunStatus.FAILURE
    api.add(run_of(instance, dg.DagsterRunStatus.STARTING), now(), **OURS)
    api.add(run_of(instance, failed), now(), "Failed", **OURS)
    api.add(run_of(instance, failed), now(), "Complete", **OURS)
    api.add(str(uuid4()), now(), release="theirs")
    just_ended = api.add(run_of(instance, failed), now(-3600), **OURS)
    jobs = dict(api.jobs)

    assert removed(instance, now()) == []
    assert api.jobs == jobs
    assert requests(api) == [f"GET {JOBS}"]

    assert removed(instance, later()) == [just_ended]


def test_without_labels_of_its_own_a_desk_removes_no_job_that_it_does_not_know(
    instance_of_pods: Callable[..., AbstractContextManager[dg.DagsterInstance]], api: JobsApi
) -> None:
    with instance_of_pods() as instance:
        api.add(str(uuid4()), now())
        known = api.add(run_of(instance, dg.DagsterRunStatus.FAILURE), now())

        assert removed(instance, later()) == [known]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (403, "Let the code location's service account list and delete Jobs there."),
        (429, "The next look tries again."),
        (500, "The next look tries again."),
    ],
)
def test_an_api_that_refuses_is_told_in_one_line(
    instance: dg.DagsterInstance, api: JobsApi, status: int, advice: str
) -> None:
    api.answer = status

    with pytest.raises(JobsError) as error:
        removed(instance, later())

    assert f"in the namespace desk: it answers {status} " in str(error.value)
    assert str(error.value).endswith(advice)
    assert "\n" not in str(error.value)


def test_an_api_that_is_down_is_told_in_one_line(
    instance: dg.DagsterInstance, api: JobsApi
) -> None:
    instance.run_launcher  # noqa: B018 - it reads the address
    api.stop()

    with pytest.raises(JobsError, match="Connection refused") as error:
        removed(instance, later())

    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_more_jobs_than_fit_one_page_are_all_seen(
    instance: dg.DagsterInstance, api: JobsApi
) -> None:
    failed = [run_of(instance, dg.DagsterRunStatus.FAILURE) for _ in range(3)]
    names = [api.add(run_id, now(), **OURS) for run_id in failed]
    api.page = 2

    assert sorted(removed(instance, later())) == sorted(names)


@pytest.mark.parametrize("condition", ["Failed", "Complete"])
def test_a_run_whose_pod_ended_before_it_began_fails_and_is_tried_again(
    instance: dg.DagsterInstance, api: JobsApi, condition: str
) -> None:
    """As one that was out of memory while Python loaded, or whose image has no such command."""
    run_id = run_of(instance, dg.DagsterRunStatus.STARTING)
    name = api.add(run_id, now(), condition, **OURS)

    assert reconcile_jobs(instance, now()).failed == [run_id]

    failed = instance.get_run_by_id(run_id)
    assert failed is not None
    assert failed.status == dg.DagsterRunStatus.FAILURE
    assert auto_reexecution_should_retry_run(instance, failed, None)
    (event,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert event.dagster_event
    assert str(event.dagster_event.message).endswith(f"kubectl describe job {name}")
    assert reconcile_jobs(instance, now()).failed == []


def test_a_run_that_has_begun_is_left_to_run_monitoring(
    instance: dg.DagsterInstance, api: JobsApi
) -> None:
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
    api.add(run.run_id, now(), "Failed", **OURS)

    assert removed(instance, later()) == []
