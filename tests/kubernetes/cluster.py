"""A small Kubernetes on the loopback: an API with roles, controllers, and one node."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from tests.kubernetes.access import Access
from tests.kubernetes.controllers import Controllers
from tests.kubernetes.kubelet import EVICTED, Ending, Kubelet
from tests.kubernetes.objects import Object, ObjectStore, name_of, plural, timestamp
from tests.kubernetes.runtimes import Runtime
from tests.kubernetes.server import ApiServer, validate

LOOK_SECONDS = 0.1


class Cluster:
    """The cluster; close it when it is not needed any more."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        """A cluster without any object.

        Args:
            folder: of the pods' volumes and logs (in `pods`) and of kubeconfigs.
            runtime: runs the containers.
        """
        pods = folder / "pods"
        self.store = ObjectStore()
        self._folder = folder
        self._access = Access(self.store)
        self.runtime = runtime
        self.node = Kubelet(self.store, self.runtime, pods)
        self.api = ApiServer(
            self.store,
            self._access,
            lambda _, pod: self.node.log(pod),
            self.runtime.unlocated,
        )
        self._controllers = Controllers(self.store, self.api.delete)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_closed.set()
        self._thread.join(10)
        self.api.close()
        self.runtime.close()

    def apply(self, namespace: str, objects: Iterable[Object]) -> None:
        """Makes the objects, or replaces those of the same name."""
        for new in objects:
            validate(new)
            resource, name = plural(new["kind"]), name_of(new)
            if self.store.find(resource, namespace, name) is None:
                self.store.create(resource, namespace, new)
                continue

            def replace(stored: Object, new: Object = new) -> None:
                metadata = {**stored["metadata"], **new["metadata"]}
                status = stored.get("status")
                stored.clear()
                stored.update(new, metadata=metadata)
                if status is not None:
                    stored["status"] = status

            self.store.change(resource, namespace, name, replace)

    def kubeconfig(self, namespace: str, account: str) -> Path:
        """A file by which a process is this service account."""
        path = self._folder / f"kubeconfig-{account}"
        user = {"token": self._access.token(namespace, account)}
        context = {"cluster": "small", "user": account, "namespace": namespace}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "small",
                    "clusters": [{"name": "small", "cluster": {"server": self.api.url}}],
                    "users": [{"name": account, "user": user}],
                    "contexts": [{"name": "small", "context": context}],
                }
            )
        )
        return path

    def restart(self, namespace: str, deployment: str) -> None:
        """As `kubectl rollout restart` does: the pods are replaced by new ones."""

        def restart(stored: Object) -> None:
            metadata = stored["spec"]["template"].setdefault("metadata", {})
            metadata.setdefault("annotations", {})["kubectl.kubernetes.io/restartedAt"] = (
                f"{timestamp()} {time.monotonic()}"
            )

        self.store.change("deployments", namespace, deployment, restart)

    def scale(self, namespace: str, deployment: str, replicas: int) -> None:
        """As `kubectl scale` does."""
        self.store.change(
            *("deployments", namespace, deployment),
            lambda stored: stored["spec"].update(replicas=replicas),
        )

    def kill(self, pod: Object) -> None:
        """The kernel kills the pod's process, which has taken more memory than its limit."""
        self.node.worker(pod).end(Ending("OOMKilled", "", 0))

    def evict(self, pod: Object) -> None:
        """The node, short of memory, ends the pod, and leaves it the time to say so."""
        self.node.worker(pod).end(Ending("Evicted", EVICTED, 60))

    def lose_node(self, pod: Object, seconds: float) -> None:
        """The node's power fails. After so many seconds the cluster gives its pod up."""
        self.node.worker(pod).end(Ending("NodeLost", "", 0, is_reported=False))
        namespace, name = pod["metadata"]["namespace"], name_of(pod)
        threading.Timer(seconds, lambda: self.store.remove("pods", namespace, name)).start()

    def delete_job(self, job: Object) -> None:
        """As `kubectl delete job` does."""
        self.api.delete(
            *("jobs", job["metadata"]["namespace"], name_of(job)),
            {"propagationPolicy": "Background"},
        )

    def _look(self) -> None:
        while not self._is_closed.wait(LOOK_SECONDS):
            self._controllers.look()
            self.node.look()
