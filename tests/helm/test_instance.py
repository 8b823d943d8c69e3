"""dagster.yaml and workspace.yaml of the chart, read by Dagster itself."""

import json

import kubernetes
import pytest
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.workspace.config_schema import process_workspace_config
from dagster._serdes import class_from_code_pointer
from dagster_k8s.job import construct_dagster_k8s_job

from tests.helm.rendering import FULLNAME, MINIMAL, NAMESPACE, instance_files, one, rendered


@pytest.fixture
def launcher(monkeypatch):
    """Makes the launcher of the values, as the daemon does in its pod."""
    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)

    def make(*values):
        section = instance_files(rendered(MINIMAL, *values))["dagster.yaml"]["run_launcher"]
        launcher = class_from_code_pointer(section["module"], section["class"])
        config = process_config(resolve_to_config_type(launcher.config_type()), section["config"])
        assert config.success, config.errors
        return launcher.from_config_value(None, config.value)

    return make


def job_of(launcher, tags=None):
    """The Job that is sent for a run with these tags, as Kubernetes reads it."""
    context = launcher.get_container_context_for_run(DagsterRun(job_name="a", tags=tags or {}))
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(None, launcher),
        ["dagster", "api", "execute_run"],
        "dagster-run-1",
        context.run_k8s_config,
        "dagster-run-1",
        "run_worker",
        {"dagster/run-id": "1"},
    )
    return kubernetes.client.ApiClient().sanitize_for_serialization(job)


def test_dagster_reads_the_instance(tmp_path):
    for name, text in one(rendered(MINIMAL), "ConfigMap", "instance")["data"].items():
        (tmp_path / name).write_text(text)

    instance = InstanceRef.from_dir(str(tmp_path))

    assert instance.custom_instance_class_data is None
    assert instance.storage_data.class_name == "PooledPostgresStorage"
    assert instance.compute_logs_data.class_name == "NoOpComputeLogManager"
    assert instance.local_artifact_storage.base_dir == "/var/lib/ticket-assets/dagster"
    assert instance.run_coordinator_data.class_name == "QueuedRunCoordinator"
    assert instance.settings["concurrency"] == {
        "pools": {"granularity": "op", "default_limit": 1},
        "runs": {"max_concurrent_runs": 4},
    }
    assert instance.settings["run_monitoring"] == {
        "enabled": True,
        "start_timeout_seconds": 900,
        "cancel_timeout_seconds": 180,
        "max_resume_run_attempts": 0,
        "poll_interval_seconds": 30,
        "free_slots_after_run_end_seconds": 30,
    }
    assert instance.settings["run_retries"] == {
        "enabled": True,
        "max_retries": 2,
        "retry_on_asset_or_op_failure": False,
    }


def test_numbers_of_any_size_stay_numbers():
    values = {"dagsterDaemon": {"runMonitoring": {"startTimeoutSeconds": 10_000_000}}}

    monitoring = instance_files(rendered(MINIMAL, values))["dagster.yaml"]["run_monitoring"]

    assert monitoring["start_timeout_seconds"] == 10_000_000


def test_the_workspace_is_the_service_of_the_code_location():
    manifests = rendered(MINIMAL)
    workspace = instance_files(manifests)["workspace.yaml"]

    assert process_workspace_config(workspace).success
    assert workspace["load_from"] == [
        {
            "grpc_server": {
                "host": f"{FULLNAME}-code-location",
                "port": 3030,
                "location_name": "ticket_assets",
            }
        }
    ]


def test_a_run_is_one_pod_that_is_not_tried_again(launcher):
    job = job_of(launcher())

    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert "activeDeadlineSeconds" not in job["spec"]
    pod = job["spec"]["template"]["spec"]
    assert pod["activeDeadlineSeconds"] == 43_200
    assert pod["restartPolicy"] == "Never"
    assert pod["priorityClassName"] == f"{NAMESPACE}-{FULLNAME}-runs"
    assert pod["serviceAccountName"] == f"{FULLNAME}-run"
    assert pod["automountServiceAccountToken"] is False


def test_a_tag_chooses_a_size_and_a_node(launcher):
    tag = {
        "container_config": {"resources": {"limits": {"memory": "9Gi"}}},
        "pod_spec_config": {"node_selector": {"disk": "fast"}},
    }

    pod = job_of(launcher(), {"dagster-k8s/config": json.dumps(tag)})["spec"]["template"]["spec"]

    assert pod["containers"][0]["resources"]["limits"] == {"memory": "9Gi"}
    assert pod["nodeSelector"] == {"disk": "fast"}


@pytest.mark.parametrize(
    "tag",
    [
        {"container_config": {"image": "elsewhere/other"}},
        {"container_config": {"command": ["sh"]}},
        {"container_config": {"security_context": {"privileged": True}}},
        {"container_config": {"env": [{"name": "TICKETS_FILES", "value": "s3://other"}]}},
        {"pod_spec_config": {"service_account_name": "admin"}},
        {"pod_spec_config": {"volumes": [{"name": "host", "host_path": {"path": "/"}}]}},
        {"pod_spec_config": {"host_network": True}},
        {"pod_spec_config": {"automount_service_account_token": True}},
        {"job_spec_config": {"backoff_limit": 3}},
    ],
)
def test_a_tag_changes_nothing_that_reaches_out_of_the_pod(launcher, tag):
    with pytest.raises(Exception, match="violated the allowed list"):
        job_of(launcher(), {"dagster-k8s/config": json.dumps(tag)})
