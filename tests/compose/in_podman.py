"""Services of docker-compose.yml as containers of podman, where there is no Docker engine."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.services.containers import Container, Containers

Service = Mapping[str, Any]
PATIENCE_SECONDS = 300.0


def run_options(name: str, service: Service, secrets: Mapping[str, Any], project: str) -> list[str]:
    """The options of `podman run` that say what the service says.

    Left out: its restart policy and log driver, which need an engine that is always there, and its
    health check, for which podman wants systemd; `Project.is_healthy` runs that.
    """
    options = [
        *("--hostname", service.get("hostname", name), "--user", service["user"]),
        *("--memory", str(service["mem_limit"]), "--cpus", str(service["cpus"])),
        *("--pids-limit", str(service["pids_limit"])),
        *("--stop-timeout", str(_seconds(service.get("stop_grace_period", "10s")))),
    ]
    if service["read_only"]:
        # Compose adds no writable folders by itself; podman would.
        options += ["--read-only", "--read-only-tmpfs=false"]
    if "shm_size" in service:
        options += ["--shm-size", f"{service['shm_size']}b"]
    for capability in service["cap_drop"]:
        options += ["--cap-drop", capability]
    for option in service["security_opt"]:
        options += ["--security-opt", option.removesuffix(":true")]
    for place in service.get("tmpfs", ()):
        options += ["--tmpfs", place]
    for network in service["networks"]:
        options += ["--network", f"{project}-{network}:alias={name}"]
    for variable, value in service.get("environment", {}).items():
        options += ["--env", f"{variable}={value}"]
    for port in service.get("ports", ()):
        options += ["--publish", f"{port['host_ip']}:{port['published']}:{port['target']}"]
    for volume in service.get("volumes", ()):
        source = volume["source"]
        if volume["type"] == "volume":
            source = f"{project}-{source}"
        rights = ":ro" if volume.get("read_only") else ""
        options += ["--volume", f"{source}:{volume['target']}{rights}"]
    for secret in service.get("secrets", ()):
        file = secrets[secret["source"]]["file"]
        target = secret.get("target") or f"/run/secrets/{secret['source']}"
        options += ["--volume", f"{file}:{target}:ro"]
    if service.get("entrypoint"):
        options += ["--entrypoint", json.dumps(service["entrypoint"])]
    return options


class Project:
    """The services of a configuration, each started after those that it waits for."""

    def __init__(
        self,
        engine: Containers,
        configuration: Mapping[str, Any],
        name: str,
        *,
        images: Mapping[str, str],
        environment: Mapping[str, str],
        without: Collection[str] = (),
    ) -> None:
        """
        Args:
            images: what takes the place of a service's image.
            environment: what `.env` would hold.
            without: the services that are left out.
        """
        self.engine, self.name = engine, name
        self.running: dict[str, Container] = {}
        services = configuration["services"]
        self._services = {of: service for of, service in services.items() if of not in without}
        self._secrets = configuration["secrets"]
        self._networks = configuration["networks"]
        self._volumes = configuration["volumes"]
        self._images, self._environment = images, environment

    def up(self) -> None:
        for network, options in self._networks.items():
            internal = ["--internal"] if options.get("internal") else []
            self.engine.podman("network", "create", *internal, f"{self.name}-{network}")
        needs = {
            name: service.get("depends_on", {}).keys() for name, service in self._services.items()
        }
        for name in TopologicalSorter(needs).static_order():
            if name in self._services:
                self.start(name)

    def start(self, name: str) -> None:
        """Starts a service and waits until it is healthy, or has ended well."""
        service = self._services[name]
        image = self._images.get(name, service["image"])
        options = run_options(name, service, self._secrets, self.name)
        if service.get("environment", {}).get("TICKETS_DATA_DIR"):
            # Before the service's own, which win, as with `env_file`.
            for variable, value in self._environment.items():
                if variable not in service["environment"]:
                    options += ["--env", f"{variable}={value}"]
        command = service.get("command") or []
        if service["restart"] == "no":
            self.engine.run(image, *command, options=options)
            return
        self.running[name] = self.engine.start(
            image, *command, options=options, name=f"{self.name}-{name}"
        )
        self._wait_until_healthy(name)

    def down(self) -> None:
        for container in self.running.values():
            container.remove()
        for volume in self._volumes:
            self.engine.podman("volume", "rm", "--force", f"{self.name}-{volume}", check=False)
        for network in self._networks:
            self.engine.podman("network", "rm", "--force", f"{self.name}-{network}", check=False)

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says now."""
        _, *command = self._services[name]["healthcheck"]["test"]
        return self.running[name].run(*command, check=False).returncode == 0

    def _wait_until_healthy(self, name: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.is_healthy(name):
            container = self.running[name]
            assert container.state["Running"], f"{name} has ended:\n{container.log()[-3000:]}"
            assert time.monotonic() < until, f"{name} is not healthy:\n{container.log()[-3000:]}"
            time.sleep(1)


def _seconds(duration: str) -> int:
    """Of a duration as Compose writes it, like 2m0s."""
    minutes, _, seconds = duration.rpartition("m")
    return 60 * int(minutes or 0) + int(float(seconds.removesuffix("s") or 0))
