"""What works on a desk that a real Prometheus watches."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.orchestration.living_desk import LivingDesk
from tests.services.prometheus import AlertReceiver, Prometheus

# As `dagster-daemon run` does, with a sign of life every second instead of every 30.
DAEMON = """
from dagster import DagsterInstance
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import daemon_controller_from_instance
from ticket_assets.orchestration.instance import WORKSPACE

target = WorkspaceFileTarget([str(WORKSPACE)])
with DagsterInstance.get() as instance:
    with daemon_controller_from_instance(instance, target, heartbeat_interval_seconds=1) as daemon:
        daemon.check_daemon_loop()
"""
SILENCE = "scalar(tickets_threshold:daemon_silence_seconds)\n        for: "
QUICKLY = {"vector(600)": "vector(50)", f"{SILENCE}5m": f"{SILENCE}2s"}
"""A daemon is silent after 50 seconds instead of ten minutes, and told at once: its scheduler and
its backfills wait 30 seconds from one look to the next, whatever the sign of life."""


@dataclass
class WatchedDesk:
    """What works on the desk and what watches it."""

    metrics: str
    """Address of the exporter's metrics."""
    prometheus: Prometheus
    receiver: AlertReceiver
    daemon: subprocess.Popen[bytes]


@contextmanager
def running(desk: LivingDesk, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process on the desk, with those that it starts, until the block ends."""
    with (desk.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=desk.folder,
            env=desk.environment | {"DAGSTER_HOME": str(desk.data / "dagster")},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it and those that it has started, without a goodbye."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
