"""Ticks of the real sensor daemon that the tests kill: one for each line on standard input.

Each tick runs in a child of its own, which starts in no time because a first tick has loaded all
that it needs, and is killed after the seconds on the line. Its exit status is printed.
"""

import logging
import os
import signal
import sys
import time

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor

import ticket_assets.definitions


def tick():
    sensor.is_under_min_interval = lambda *_: False  # ticks follow each other at once
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(
            executable_path=sys.executable, module_name=ticket_assets.definitions.__name__
        ),
        location_name="ticket_assets",
    )
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
    ):
        logger = logging.getLogger("sensor")
        for failed in sensor.execute_sensor_iteration(workspace, logger, None, None):
            if failed:
                raise SystemExit(failed.message)


def main():
    tick()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                tick()
            except BaseException as error:
                print(f"tick: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        deadline = time.monotonic() + float(line)
        ended, status = os.waitpid(child, os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.001)
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        print(status, flush=True)


if __name__ == "__main__":
    main()
