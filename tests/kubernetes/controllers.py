"""What keeps Jobs and Deployments supplied with pods, as the controllers of Kubernetes do."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.kubernetes.objects import (
    ApiError,
    Object,
    ObjectStore,
    name_of,
    owned_by,
    timestamp,
)

HASH_LABEL = "pod-template-hash"
Delete = Callable[[str, str, str, Object], None]
"""Deletes the object with this resource, namespace and name, by these options."""


class Controllers:
    """They look at every Job and Deployment, again and again."""

    def __init__(self, store: ObjectStore, delete: Delete) -> None:
        self._store, self._delete = store, delete
        self._pods_of_job: dict[str, set[str]] = {}
        """The uids of all pods that a Job has ever had, by its own."""

    def look(self) -> None:
        for job in self._store.list("jobs"):
            try:
                self._look_at_job(job)
            except ApiError:  # it was deleted meanwhile
                continue
        for deployment in self._store.list("deployments"):
            self._look_at_deployment(deployment)

    def _look_at_job(self, job: Object) -> None:
        namespace, name = job["metadata"]["namespace"], name_of(job)
        if ended := job_end(job):
            seconds = job["spec"].get("ttlSecondsAfterFinished")
            if seconds is not None and datetime.now(UTC) >= ended + timedelta(seconds=seconds):
                self._delete("jobs", namespace, name, {"propagationPolicy": "Background"})
            return
        pods = owned_by(job, self._store.list("pods", namespace))
        former = self._pods_of_job.setdefault(job["metadata"]["uid"], set())
        gone = former - {pod["metadata"]["uid"] for pod in pods}
        failed = len(gone) + sum(_phase(pod) == "Failed" for pod in pods)
        succeeded = sum(_phase(pod) == "Succeeded" for pod in pods)
        living = [pod for pod in pods if _phase(pod) in {"Pending", "Running"}]
        ending = [pod for pod in living if pod["metadata"].get("deletionTimestamp")]
        active = len(living) - len(ending)
        limit = job["spec"].get("backoffLimit", 6)
        conditions = []
        if succeeded:
            conditions = [_condition("Complete", "CompletionsReached")]
        elif failed > limit and not living:
            conditions = [_condition("Failed", "BackoffLimitExceeded")]
        elif not living and failed <= limit:
            pod = self._store.create("pods", namespace, _pod_of(job, "Job"))
            former.add(pod["metadata"]["uid"])
            active = 1
        status = {
            "startTime": (job.get("status") or {}).get("startTime") or timestamp(),
            **({"active": active} if active else {}),
            **({"failed": failed} if failed else {}),
            **({"succeeded": succeeded} if succeeded else {}),
            **({"conditions": conditions} if conditions else {}),
            **({"completionTime": timestamp()} if succeeded else {}),
        }
        if status != job.get("status"):
            self._store.change("jobs", namespace, name, lambda stored: stored.update(status=status))

    def _look_at_deployment(self, deployment: Object) -> None:
        """One pod, made anew when its template changes or it ends, never two at once."""
        namespace = deployment["metadata"]["namespace"]
        pods = owned_by(deployment, self._store.list("pods", namespace))
        if not pods and deployment["spec"].get("replicas", 1):
            self._store.create("pods", namespace, _pod_of(deployment, "Deployment"))
        for pod in pods:
            is_current = pod["metadata"]["labels"][HASH_LABEL] == _hash(deployment)
            is_wanted = is_current and deployment["spec"].get("replicas", 1)
            if _phase(pod) in {"Failed", "Succeeded"}:
                self._store.remove("pods", namespace, name_of(pod))
            elif not is_wanted and not pod["metadata"].get("deletionTimestamp"):
                self._delete("pods", namespace, name_of(pod), {})


def job_end(job: Object) -> datetime | None:
    """When the Job ended; None while it is at work."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["type"] in {"Complete", "Failed"} and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"])
    return None


def _condition(kind: str, reason: str) -> Object:
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "lastTransitionTime": timestamp(),
        "lastProbeTime": timestamp(),
    }


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def _hash(owner: Object) -> str:
    template = json.dumps(owner["spec"]["template"], sort_keys=True)
    return hashlib.sha256(template.encode()).hexdigest()[:10]


def _pod_of(owner: Object, kind: str) -> Object:
    template = copy.deepcopy(owner["spec"]["template"])
    metadata = template.get("metadata") or {}
    name = name_of(owner)
    labels = metadata.get("labels") or {}
    if kind == "Job":
        labels |= {
            "job-name": name,
            "batch.kubernetes.io/job-name": name,
            "batch.kubernetes.io/controller-uid": owner["metadata"]["uid"],
        }
    else:
        labels[HASH_LABEL] = _hash(owner)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{name}-",
            "labels": labels,
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [
                {
                    "apiVersion": owner["apiVersion"],
                    "kind": kind,
                    "name": name,
                    "uid": owner["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }
