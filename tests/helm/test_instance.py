"""dagster.yaml and workspace.yaml of the chart, read by Dagster itself."""

import json

import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.config_schema import process_workspace_config

from tests.helm.pods import launcher_of, run_job, run_jobs
from tests.helm.rendering import FULLNAME, MINIMAL, NAMESPACE, instance_files, one, rendered


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


def test_a_run_is_one_pod_that_is_not_tried_again():
    job = run_jobs(rendered(MINIMAL))["of no size"]

    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert "activeDeadlineSeconds" not in job["spec"]
    pod = job["spec"]["template"]["spec"]
    assert pod["activeDeadlineSeconds"] == 43_200
    assert pod["restartPolicy"] == "Never"
    assert pod["priorityClassName"] == f"{NAMESPACE}-{FULLNAME}-runs"
    assert pod["serviceAccountName"] == f"{FULLNAME}-run"
    assert pod["automountServiceAccountToken"] is False


def test_a_run_gets_the_size_that_it_needs():
    gpu = {"resources": {"limits": {"nvidia.com/gpu": 1}}, "nodeSelector": {"accelerator": "yes"}}
    values = {"runLauncher": {"config": {"k8sRunLauncher": {"sizes": {"gpu": gpu}}}}}

    pods = {
        size: job["spec"]["template"]["spec"]
        for size, job in run_jobs(rendered(MINIMAL, values)).items()
    }

    resources = {size: pod["containers"][0]["resources"] for size, pod in pods.items()}
    assert resources == {
        "of no size": {
            "requests": {"cpu": "500m", "memory": "1536Mi"},
            "limits": {"memory": "4Gi"},
        },
        "small": {"requests": {"cpu": "250m", "memory": "768Mi"}, "limits": {"memory": "2Gi"}},
        "large": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "6Gi"}},
        "gpu": {
            "requests": {"cpu": "500m", "memory": "1536Mi"},
            "limits": {"memory": "4Gi", "nvidia.com/gpu": "1"},
        },
    }
    assert {size: pod.get("nodeSelector") for size, pod in pods.items()} == {
        "of no size": None,
        "small": None,
        "large": None,
        "gpu": {"accelerator": "yes"},
    }


def test_a_tag_chooses_a_size_and_a_node():
    tag = {
        "container_config": {"resources": {"limits": {"memory": "9Gi"}}},
        "pod_spec_config": {"node_selector": {"disk": "fast"}},
    }

    job = run_job(launcher_of(rendered(MINIMAL)), {"dagster-k8s/config": json.dumps(tag)})

    pod = job["spec"]["template"]["spec"]

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
def test_a_tag_changes_nothing_that_reaches_out_of_the_pod(tag):
    launcher = launcher_of(rendered(MINIMAL))

    with pytest.raises(Exception, match="violated the allowed list"):
        run_job(launcher, {"dagster-k8s/config": json.dumps(tag)})
