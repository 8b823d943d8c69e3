"""Runs in containers of the product's image, as hardened as the cluster demands of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import uuid4

from tests.kubernetes.runtimes import RUN, Launch, LocalProcesses, RunningContainer
from tests.services.containers import UNWRITABLE, Containers


class PodmanRuns(LocalProcesses):
    """Pods of runs as podman's containers; daemon and code location as processes beside them."""

    def __init__(self, pods: Path, environment: dict[str, str], containers: Containers) -> None:
        super().__init__(pods, environment)
        self._containers = containers
        self.disk_kilobytes: int | None = None
        """What each empty volume of the runs to come holds; None for as much as there is."""
        self._running: list[PodmanRun] = []

    def start(self, launch: Launch) -> RunningContainer:
        if list(launch.command[:3]) != RUN:
            return super().start(launch)
        run = PodmanRun(launch, self._containers, self.disk_kilobytes)
        self._running.append(run)
        return run

    def close(self) -> None:
        super().close()
        for run in self._running:
            run.remove()


class PodmanRun:
    """A container of the image that the pod names."""

    def __init__(self, launch: Launch, containers: Containers, disk_kilobytes: int | None) -> None:
        self._name, self._containers = f"pod-{uuid4().hex[:12]}", containers
        security = launch.pod_spec["securityContext"]
        empty = {volume["name"] for volume in launch.pod_spec["volumes"] if "emptyDir" in volume}
        size = "" if disk_kilobytes is None else f",size={disk_kilobytes}k"
        volumes = []
        for mount in launch.container["volumeMounts"]:
            place = mount["mountPath"]
            if mount["name"] in empty:
                volumes += ["--tmpfs", f"{place}:rw,mode=1777,notmpcopyup{size}"]
                continue
            folder = Path(f"{launch.root}{place}").resolve()
            folder.chmod(0o755)
            volumes += ["--volume", f"{folder}:{place}:ro"]
        variables = [f"--env={name}={value}" for name, value in launch.environment.items()]
        with launch.log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *("podman", "run", "--name", self._name, "--network", "host"),
                    *("--user", f"{security['runAsUser']}:{security['runAsGroup']}"),
                    *UNWRITABLE,
                    *volumes,
                    *variables,
                    *(launch.container["image"], *launch.command),
                ],
                env=containers.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def exit_code(self) -> int | None:
        return self._process.poll()

    def signal(self, number: int) -> None:
        self._containers.podman("kill", "--signal", number, self._name, check=False)

    def remove(self) -> None:
        self._containers.podman("rm", "--force", "--time", 0, self._name, check=False)
        self._process.wait(60)
