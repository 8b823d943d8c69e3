"""The one node of the cluster: it runs the containers of pods and says how they are."""

from __future__ import annotations

import base64
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.objects import ApiError, Object, ObjectStore, name_of, timestamp
from tests.kubernetes.runtimes import Launch, RunningContainer, Runtime

LOOK_SECONDS = 0.05
EVICTED = "The node was low on resource: memory. Container dagster was using 1Gi."


@dataclass
class Ending:
    """Why a container is being ended, and by when it has to have ended."""

    reason: str
    message: str
    grace: float
    is_reported: bool = True
    """Whether the API hears of it: a node that is gone says nothing more."""


class PodEndedError(Exception):
    """The pod's containers are not to be started any more."""


class Kubelet:
    """Runs every pod of the store. What can be wrong with a node is switched on and off here."""

    def __init__(self, store: ObjectStore, runtime: Runtime, folder: Path) -> None:
        """A node that keeps the pods' volumes and logs in the folder."""
        self._store, self._runtime, self._folder = store, runtime, folder
        self._pods: dict[str, PodWorker] = {}
        self.is_full = False
        """No pod finds a place: it stays Pending."""
        self.lost_images: set[str] = set()
        """Images that no registry has."""

    def look(self) -> None:
        for pod in self._store.list("pods"):
            if pod["metadata"]["uid"] not in self._pods:
                worker = PodWorker(self, self._store, self._runtime, self._folder, pod)
                self._pods[pod["metadata"]["uid"]] = worker

    def worker(self, pod: Object) -> PodWorker:
        return self._pods[pod["metadata"]["uid"]]

    def log(self, pod: str) -> str:
        path = self._folder / pod / "log"
        return path.read_text(errors="replace") if path.exists() else ""


class PodWorker:
    """Takes one pod from Pending to its end."""

    def __init__(
        self, kubelet: Kubelet, store: ObjectStore, runtime: Runtime, folder: Path, pod: Object
    ) -> None:
        self._kubelet, self._store, self._runtime = kubelet, store, runtime
        self._namespace, self._name = pod["metadata"]["namespace"], name_of(pod)
        self._uid, self._spec = pod["metadata"]["uid"], pod["spec"]
        self._folder = folder / self._name
        self._folder.mkdir(parents=True)
        self._process: RunningContainer | None = None
        self._ending: Ending | None = None
        self._deadline: float | None = None
        threading.Thread(target=self._live, daemon=True).start()

    def end(self, ending: Ending) -> None:
        """Ends the pod from outside: by the kernel, the node, or its failure."""
        self._ending = ending

    def _live(self) -> None:
        try:
            self._wait(lambda: not self._kubelet.is_full, self._unschedulable)
            if seconds := self._spec.get("activeDeadlineSeconds"):
                self._deadline = time.monotonic() + seconds
            self._report(startTime=timestamp(), conditions=[_condition("PodScheduled", "True")])
            code = 0
            for container in self._spec.get("initContainers") or []:
                code = code or self._run(container)
            for container in self._spec["containers"]:
                code = code or self._run(container)
            if self._ending is not None and not self._ending.is_reported:
                return
            if self._ending is not None and self._ending.reason in {"Evicted", "DeadlineExceeded"}:
                self._report(
                    phase="Failed", reason=self._ending.reason, message=self._ending.message
                )
            else:
                self._report(phase="Failed" if code else "Succeeded")
            if self._deletion() is not None:
                self._remove()
        except PodEndedError:
            self._remove()
        except ApiError:  # the pod was removed by force
            if self._process is not None:
                self._process.signal(signal.SIGKILL)

    def _run(self, container: Object) -> int:
        """The exit code of a container that has run to its end."""
        image = container["image"]
        self._wait(
            lambda: image not in self._kubelet.lost_images, lambda: self._not_pulled(container)
        )
        self._wait(lambda: not self._missing(container), lambda: self._not_configured(container))
        self._process = self._runtime.start(self._launch(container))
        self._report(
            phase="Running",
            containerStatuses=[_status(container, {"running": {"startedAt": timestamp()}})],
        )
        kill_at: float | None = None
        while (code := self._process.exit_code()) is None:
            if kill_at is None and (grace := self._asked_to_end()) is not None:
                self._process.signal(signal.SIGTERM if grace else signal.SIGKILL)
                kill_at = time.monotonic() + grace
            elif kill_at is not None and time.monotonic() >= kill_at:
                self._process.signal(signal.SIGKILL)
            time.sleep(LOOK_SECONDS)
        if self._ending is None or self._ending.is_reported:
            self._report_end(container, code)
        return code

    def _asked_to_end(self) -> float | None:
        """The seconds that are left to the container; None as long as it may go on."""
        if self._ending is None and self._deadline and time.monotonic() >= self._deadline:
            seconds = self._spec["activeDeadlineSeconds"]
            self._ending = Ending(
                "DeadlineExceeded",
                f"Pod was active on the node longer than the specified deadline: {seconds}",
                self._spec.get("terminationGracePeriodSeconds", 30),
            )
        if self._ending is not None:
            return self._ending.grace
        return self._deletion()

    def _report_end(self, container: Object, code: int) -> None:
        reason = "Completed" if code == 0 else "Error"
        if self._ending is not None and self._ending.reason == "OOMKilled":
            reason = "OOMKilled"
        ended = {"exitCode": code, "reason": reason, "finishedAt": timestamp()}
        self._report(containerStatuses=[_status(container, {"terminated": ended})])

    def _deletion(self) -> float | None:
        """The seconds that a deleted pod has; None when it is not deleted."""
        metadata = self._present()["metadata"]
        if not metadata.get("deletionTimestamp"):
            return None
        return float(metadata["deletionGracePeriodSeconds"])

    def _present(self) -> Object:
        pod = self._store.get("pods", self._namespace, self._name)
        if pod["metadata"]["uid"] != self._uid:
            raise ApiError(404, "NotFound", "another pod of that name")
        return pod

    def _remove(self) -> None:
        self._store.remove("pods", self._namespace, self._name)

    def _report(self, **status: Any) -> None:
        def change(pod: Object) -> None:
            pod.setdefault("status", {}).update(status)

        self._store.change("pods", self._namespace, self._name, change)

    def _wait(self, is_ready: Callable[[], bool], report: Callable[[], None]) -> None:
        """Waits for what the pod needs, and says once what that is.

        Raises:
            PodEndedError: the pod was deleted, or is past its deadline, before that.
        """
        is_reported = False
        while not is_ready():
            if self._deletion() is not None:
                raise PodEndedError
            if not is_reported:
                report()
                is_reported = True
            time.sleep(LOOK_SECONDS)

    def _unschedulable(self) -> None:
        message = "0/1 nodes are available: 1 Insufficient memory."
        self._event("FailedScheduling", message)
        self._report(conditions=[_condition("PodScheduled", "False", "Unschedulable", message)])

    def _not_pulled(self, container: Object) -> None:
        message = f'Failed to pull image "{container["image"]}": not found'
        self._event("Failed", message)
        waiting = {"waiting": {"reason": "ErrImagePull", "message": message}}
        self._report(containerStatuses=[_status(container, waiting)])

    def _not_configured(self, container: Object) -> None:
        message = self._missing(container)
        self._event("Failed", f"Error: {message}")
        waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
        self._report(containerStatuses=[_status(container, waiting)])

    def _event(self, reason: str, message: str) -> None:
        involved = {"kind": "Pod", "namespace": self._namespace, "name": self._name}
        self._store.create(
            "events",
            self._namespace,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"generateName": f"{self._name}."},
                "involvedObject": involved | {"uid": self._uid},
                "type": "Warning",
                "reason": reason,
                "message": message,
                "count": 1,
            },
        )

    def _missing(self, container: Object) -> str:
        """What the container refers to that is not there; empty when all is."""
        try:
            self._environment(container)
            for volume in self._spec.get("volumes") or []:
                self._files(volume)
        except ApiError as error:
            return error.message
        return ""

    def _launch(self, container: Object) -> Launch:
        root = self._folder / "root"
        mounts = [mount["mountPath"] for mount in container.get("volumeMounts") or []]
        self._mount(container, root, mounts)
        return Launch(
            self._name,
            container,
            self._spec,
            [*(container.get("command") or []), *(container.get("args") or [])],
            self._environment(container),
            root,
            mounts,
            self._folder / "log",
        )

    def _mount(self, container: Object, root: Path, mounts: list[str]) -> None:
        """Lays the volumes out below the root, a link for each place where one is mounted."""
        volumes = {volume["name"]: volume for volume in self._spec.get("volumes") or []}
        for mount in container.get("volumeMounts") or []:
            volume = volumes[mount["name"]]
            source = self._folder / "volumes" / volume["name"]
            if "hostPath" in volume:
                source = Path(volume["hostPath"]["path"])
            else:
                source.mkdir(parents=True, exist_ok=True)
            for name, content in self._files(volume).items():
                text = content
                if "configMap" in volume:
                    text = self._runtime.located(content.decode(), root, mounts).encode()
                (source / name).write_bytes(text)
            place = root / mount["mountPath"].lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to(source / mount.get("subPath", ""))

    def _environment(self, container: Object) -> dict[str, str]:
        """The container's variables.

        Raises:
            ApiError: a ConfigMap, a Secret or a key of theirs is not there.
        """
        variables = {"HOSTNAME": self._name, **self._service_links()}
        for source in container.get("envFrom") or []:
            reference = source.get("configMapRef") or source.get("secretRef")
            resource = "configmaps" if "configMapRef" in source else "secrets"
            for name, content in self._content(resource, reference).items():
                variables[source.get("prefix", "") + name] = content.decode()
        for variable in container.get("env") or []:
            variables[variable["name"]] = self._value(variable)
        return variables

    def _value(self, variable: Object) -> str:
        source = variable.get("valueFrom") or {}
        if "fieldRef" in source:
            found: Any = self._present()
            for name in source["fieldRef"]["fieldPath"].split("."):
                found = found[name]
            return str(found)
        for kind, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            if reference := source.get(kind):
                content = self._content(resource, reference)
                if reference["key"] not in content:
                    if reference.get("optional"):
                        return ""
                    raise ApiError(
                        *(404, "NotFound"),
                        f"couldn't find key {reference['key']} in {resource[:-1]}"
                        f" {self._namespace}/{reference['name']}",
                    )
                return content[reference["key"]].decode()
        return str(variable.get("value") or "")

    def _service_links(self) -> dict[str, str]:
        if not self._spec.get("enableServiceLinks", True):
            return {}
        return {
            f"{name_of(service).upper().replace('-', '_')}_SERVICE_HOST": "10.0.0.1"
            for service in self._store.list("services", self._namespace)
        }

    def _files(self, volume: Object) -> dict[str, bytes]:
        """The files of a volume, by name.

        Raises:
            ApiError: a ConfigMap or a Secret is not there.
        """
        files: dict[str, bytes] = {}
        for source in (volume.get("projected") or {}).get("sources", [volume]):
            for kind, resource in (("configMap", "configmaps"), ("secret", "secrets")):
                if reference := source.get(kind):
                    content = self._content(resource, reference)
                    items = reference.get("items")
                    if items is None:
                        files |= content
                    else:
                        files |= {item["path"]: content[item["key"]] for item in items}
        return files

    def _content(self, resource: str, reference: Object) -> dict[str, bytes]:
        name = reference.get("name") or reference["secretName"]
        try:
            stored = self._store.get(resource, self._namespace, name)
        except ApiError:
            if reference.get("optional"):
                return {}
            raise
        texts = {**(stored.get("stringData") or {})}
        if resource == "configmaps":
            texts |= stored.get("data") or {}
            return {key: text.encode() for key, text in texts.items()}
        encoded = stored.get("data") or {}
        return {key: text.encode() for key, text in texts.items()} | {
            key: base64.b64decode(text) for key, text in encoded.items()
        }


def _condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _status(container: Object, state: Object) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }
