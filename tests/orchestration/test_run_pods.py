"""The launcher gives each run's pod what the run needs, and asks the right one whether it lives."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from tests.orchestration.jobs_api import JobsApi
from ticket_assets.orchestration import living_runs
from ticket_assets.orchestration.living_runs import ALIVE_TAG, STARTED_BY_TAG
from ticket_assets.orchestration.run_pods import SIZE_TAG, run_size

LARGE = {"container_config": {"resources": {"limits": {"memory": "6Gi"}}}}
DEFAULT = {
    "container_config": {"resources": {"limits": {"memory": "1Gi", "cpu": "1"}}},
    "pod_spec_config": {"active_deadline_seconds": 3600},
    "job_spec_config": {"backoff_limit": 0, "ttl_seconds_after_finished": 3600},
}


@dg.job
def nothing() -> None:
    pass


@pytest.fixture
def instance(
    instance_of_pods: Callable[..., AbstractContextManager[dg.DagsterInstance]],
) -> Iterator[dg.DagsterInstance]:
    with instance_of_pods(run_k8s_config=DEFAULT, sizes={"large": LARGE}) as instance:
        yield instance


def run_of(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)


def resources(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict:
    context = instance.run_launcher.get_container_context_for_run(run)
    assert context.run_k8s_config.job_spec_config == DEFAULT["job_spec_config"]
    assert context.run_k8s_config.pod_spec_config["active_deadline_seconds"] == 3600
    return context.run_k8s_config.container_config["resources"]


def test_a_pod_gets_the_resources_of_its_runs_size(instance: dg.DagsterInstance) -> None:
    large = run_of(instance, **{SIZE_TAG: "large"})

    assert resources(instance, large) == {"limits": {"memory": "6Gi", "cpu": "1"}}
    assert resources(instance, run_of(instance)) == DEFAULT["container_config"]["resources"]


@pytest.mark.parametrize(
    ("job", "assets", "sizes", "size"),
    [
        ("classify_mail", None, {"large", "small"}, "large"),
        ("classify_mail", None, {"large", "gpu"}, "gpu"),
        ("retrain", None, {"large", "gpu"}, "large"),
        ("housekeeping", None, {"large", "gpu"}, "small"),
        ("__ASSET_JOB", {"raw_tickets", "ticket_embeddings"}, {"large"}, "large"),
        ("__ASSET_JOB", {"ticket_predictions", "drift_report"}, {"large"}, "small"),
        ("collect_mail", {"ticket_collection"}, {"large"}, "small"),
    ],
)
def test_what_encodes_or_trains_is_large(
    job: str, assets: set[str] | None, sizes: set[str], size: str
) -> None:
    keys = None if assets is None else {dg.AssetKey(name) for name in assets}

    assert run_size(dg.DagsterRun(job, asset_selection=keys), sizes) == size


def test_an_api_that_does_not_answer_ends_no_run(
    instance: dg.DagsterInstance, api: JobsApi, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_of(instance)
    api.add(run.run_id, datetime.now(UTC))
    api.answer = 403

    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    (warning,) = [record.message for record in caplog.records if run.run_id in record.message]
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("condition", "status"),
    [("Complete", WorkerStatus.FAILED), ("Failed", WorkerStatus.FAILED)],
)
def test_a_run_dies_with_its_pod(
    instance: dg.DagsterInstance, api: JobsApi, condition: str, status: WorkerStatus
) -> None:
    run = run_of(instance)
    name = api.add(run.run_id, datetime.now(UTC), condition)
    counted = "succeeded" if condition == "Complete" else "failed"
    api.jobs[name]["status"][counted] = 1

    assert instance.run_launcher.check_run_worker_health(run).status == status


def test_a_run_dies_with_its_job(instance: dg.DagsterInstance) -> None:
    health = instance.run_launcher.check_run_worker_health(run_of(instance))

    assert health.status == WorkerStatus.UNKNOWN
    assert str(health.msg).endswith("could not be found")


def test_a_run_of_the_command_has_no_job_and_lives_by_its_signs(
    instance: dg.DagsterInstance, api: JobsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = datetime.now(UTC).isoformat()
    run = run_of(instance, **{STARTED_BY_TAG: "the command", ALIVE_TAG: seen})

    first = instance.run_launcher.check_run_worker_health(run)
    monkeypatch.setattr(living_runs, "STALE_SECONDS", 0.0)
    second = instance.run_launcher.check_run_worker_health(run)

    assert (first.status, second.status) == (WorkerStatus.RUNNING, WorkerStatus.UNKNOWN)
    assert str(second.msg).startswith("This run has shown no sign of life since ")
    assert not api.requests
