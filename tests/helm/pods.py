"""Every pod that a release makes: of its manifests, and of the runs that its launcher starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import kubernetes
from dagster._config import process_config, resolve_to_config_type
from dagster._core.storage.dagster_run import DagsterRun
from dagster._serdes import class_from_code_pointer
from dagster_k8s.job import construct_dagster_k8s_job

from tests.helm.rendering import instance_files

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    name: str
    """As in Deployment/desk-ticket-assets-daemon, and run/large."""
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def launcher_of(manifests: list[Manifest]) -> Any:
    """The launcher of the release, made as the daemon makes it in its pod."""
    section = instance_files(manifests)["dagster.yaml"]["run_launcher"]
    launcher = class_from_code_pointer(section["module"], section["class"])
    config = process_config(resolve_to_config_type(launcher.config_type()), section["config"])
    assert config.success, config.errors
    # There is no token here, and the API is not spoken to.
    with patch.object(kubernetes.config, "load_incluster_config", lambda: None):
        return launcher.from_config_value(None, config.value)


def run_job(launcher: Any, tags: dict[str, str] | None = None) -> Manifest:
    """The Job of a run with these tags, as Kubernetes gets it."""
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
    manifest: Manifest = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    return manifest


def run_jobs(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The Job of a run, by the size of the run."""
    launcher = launcher_of(manifests)
    config = instance_files(manifests)["dagster.yaml"]["run_launcher"]["config"]
    sizes = ["of no size", *config.get("sizes", {})]
    return {size: run_job(launcher, {"tickets/size": size}) for size in sizes}


def pods(manifests: list[Manifest]) -> Iterator[Pod]:
    """The pods of the manifests and of the runs."""
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        if kind == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if kind == "Pod":
            template = manifest
        elif kind in {"Deployment", "StatefulSet", "Job", "CronJob"}:
            template = spec["template"]
        else:
            continue
        yield Pod(
            f"{kind}/{manifest['metadata']['name']}",
            template["metadata"]["labels"],
            template["spec"],
        )
    for size, job in run_jobs(manifests).items():
        template = job["spec"]["template"]
        yield Pod(f"run/{size}", template["metadata"]["labels"], template["spec"])
