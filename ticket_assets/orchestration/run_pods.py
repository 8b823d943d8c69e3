"""The launcher of runs on Kubernetes: Dagster's own, which knows what a run needs, and when one is
at work without a Job."""

from __future__ import annotations

import copy
import logging
from collections.abc import Container, Mapping
from typing import Any

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig

from ticket_assets.orchestration.living_runs import cause_of_death, is_of_command

SIZE_TAG = "tickets/size"
"""Names the size of a run's pod in place of the one that its assets need."""
SMALL, LARGE, GPU = "small", "large", "gpu"
ENCODING = "ticket_embeddings"
TRAINING = "candidate_classifier"
ENCODING_JOBS = {"whole_graph", "classify_mail", "collect_mail"}
TRAINING_JOBS = {"whole_graph", "retrain"}
NOT_FOUND = "could not be found"
"""Ends what Dagster's launcher says of a run without a Job; any other unknown state is an API that
did not answer."""

REAP_AFTER_SECONDS = 300
"""From the end of a run to the removal of its Job: the pod may be about to end by itself, and a
person may be reading its log."""

logger = logging.getLogger(__name__)


class RunPodLauncher(K8sRunLauncher):
    """Dagster's launcher, with three differences.

    A pod gets what its run needs: `sizes` names configurations of the kind of `run_k8s_config`,
    which go over that one: `large` for runs that encode or train, `small` for others, `gpu` in
    place of `large` for runs that encode. A size that is not there changes nothing.

    A run of the command, in a pod of its own or in no pod, has no Job: its signs of life count.

    An API that does not answer says nothing about a run, which Dagster would end.
    """

    def __init__(
        self,
        *,
        sizes: Mapping[str, Mapping[str, Any]] | None = None,
        reap_after_seconds: int = REAP_AFTER_SECONDS,
        **configuration: Any,
    ) -> None:
        super().__init__(**configuration)
        self._sizes = sizes or {}
        self.reap_after_seconds = reap_after_seconds

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        fields: dict[str, Any] = super().config_type()  # type: ignore[no-untyped-call]
        size: Any = fields["run_k8s_config"].config_type
        return {
            **fields,
            "sizes": dg.Field({str: size}, is_required=False),
            "reap_after_seconds": dg.Field(int, default_value=REAP_AFTER_SECONDS),
        }

    def get_container_context_for_run(self, dagster_run: DagsterRun) -> K8sContainerContext:
        sized = copy.copy(self)
        size = self._sizes.get(run_size(dagster_run, self._sizes))
        if size:
            sized._run_k8s_config = _over(self._run_k8s_config, size)
        # With what the run's own tags say over it, as far as they may.
        return K8sContainerContext.create_for_run(dagster_run, sized, include_run_tags=True)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        if is_of_command(run):
            record = self._instance.get_run_record_by_id(run.run_id)
            cause = cause_of_death(self._instance, record) if record else None
            return CheckRunHealthResult(
                WorkerStatus.UNKNOWN if cause else WorkerStatus.RUNNING, cause
            )
        health: CheckRunHealthResult = super().check_run_worker_health(run)
        if health.status == WorkerStatus.UNKNOWN and not (health.msg or "").endswith(NOT_FOUND):
            logger.warning(
                "Kubernetes does not say whether the pod of run %s is at work: %s",
                run.run_id,
                (health.msg or "no reason").splitlines()[0],
            )
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return health


def run_size(run: DagsterRun, sizes: Container[str]) -> str:
    """The name of the size that a run needs, of these."""
    if SIZE_TAG in run.tags:
        return run.tags[SIZE_TAG]
    encodes, trains = run.job_name in ENCODING_JOBS, run.job_name in TRAINING_JOBS
    if run.asset_selection is not None:
        assets = {key.to_user_string() for key in run.asset_selection}
        encodes, trains = ENCODING in assets, TRAINING in assets
    if encodes and GPU in sizes:
        return GPU
    return LARGE if encodes or trains else SMALL


def _over(configuration: Mapping[str, Any], size: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with that of the size over it, dictionary by dictionary."""
    below, above = (
        K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig(**part))
        for part in (configuration, size)
    )
    merged: dict[str, Any] = below.merge(above).run_k8s_config.to_dict()  # type: ignore[no-untyped-call]
    return merged
