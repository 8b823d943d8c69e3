"""What runs the containers of pods: processes of this machine, which start quickly."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.services.warm_processes import send, warm_processes

OWN_PATHS = {"/tmp"}  # noqa: S108
"""What every machine has, where a container has a volume."""
RUN = ["dagster", "api", "execute_run"]
"""Begins the command of a run's pod."""


@dataclass(frozen=True)
class Launch:
    """A container that is about to run."""

    pod: str
    container: Mapping[str, Any]
    pod_spec: Mapping[str, Any]
    command: Sequence[str]
    environment: Mapping[str, str]
    root: Path
    """Folder of this machine below which the volumes are mounted."""
    mounts: Sequence[str]
    """Where in the container the volumes are mounted."""
    log: Path


class RunningContainer(Protocol):
    """A container's process."""

    def exit_code(self) -> int | None:
        """None while it runs; a signal's number is added to 128."""

    def signal(self, number: int) -> None:
        """Sends a signal to it, if it still runs."""


class Runtime(Protocol):
    """Runs containers."""

    def located(self, text: str, root: Path, mounts: Sequence[str]) -> str:
        """A text of the pod with its paths as this runtime's containers have them."""

    def unlocated(self, text: str) -> str:
        """What a container of this runtime has written, with the paths as the pod has them."""

    def start(self, launch: Launch) -> RunningContainer:
        """The container, at work."""

    def close(self) -> None:
        """Ends all containers."""


class LocalProcesses:
    """Containers as processes of this machine, with what is installed beside the tests.

    A process has no file system of its own: a path in a volume becomes the volume's folder,
    wherever it stands in arguments, variables and files of ConfigMaps.
    """

    def __init__(self, pods: Path, environment: Mapping[str, str], *, warm: bool = False) -> None:
        """Processes for the pods in this folder.

        Args:
            environment: what the image's own variables are elsewhere.
            warm: whether those of runs are forked from one that has loaded the libraries.
        """
        self._pods, self._environment = pods, environment
        self._warm = warm_processes() if warm else None
        self.clock_offset = 0.0
        """Seconds by which the clock of the runs to come is wrong, where they are forked."""
        self._started: list[RunningContainer] = []

    def located(self, text: str, root: Path, mounts: Sequence[str]) -> str:
        for mount in mounts:
            if mount not in OWN_PATHS:
                whole = rf"(?<![\w./-]){re.escape(mount)}(?![\w-])"
                text = re.sub(whole, lambda _, path=mount: f"{root}{path}", text)
        return text

    def unlocated(self, text: str) -> str:
        return re.sub(rf"{re.escape(str(self._pods))}/[^/]+/root", "", text)

    def start(self, launch: Launch) -> RunningContainer:
        def located(text: str) -> str:
            return self.located(text, launch.root, launch.mounts)

        command = [located(argument) for argument in launch.command]
        environment = {
            **self._environment,
            **{name: located(value) for name, value in launch.environment.items()},
        }
        home = launch.root / "home"
        home.mkdir(parents=True, exist_ok=True)
        environment.setdefault("HOME", str(home))
        if self._warm is not None and command[:3] == RUN:
            process: RunningContainer = self._warm.start(
                command, environment, home, launch.log, clock_offset=self.clock_offset
            )
        else:
            process = ColdProcess(command, environment, home, launch.log)
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            process.signal(signal.SIGKILL)


class ColdProcess:
    """A process that loads everything itself."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                executable=_found(command[0], environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def signal(self, number: int) -> None:
        if self._process.poll() is None:
            send(self._process.pid, number)


def _found(program: str, environment: Mapping[str, str]) -> str:
    return shutil.which(program, path=environment.get("PATH")) or program
