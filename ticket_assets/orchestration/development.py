"""Dagster's UI and daemon for one desk, on this machine."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ticket_assets.errors import TicketAssetsError
from ticket_assets.orchestration.instance import WORKSPACE, dagster_home, desk_instance

HOST = "127.0.0.1"
PATIENCE_SECONDS = 120.0
"""Dagster gives each of its processes 60 seconds to end."""


class ServedError(TicketAssetsError):
    """The UI and the daemon cannot start beside what is running."""


@contextmanager
def only_server(data_dir: Path, port: int) -> Iterator[TextIO]:
    """Yields the lock of the process that serves the desk; two daemons would request runs twice.

    Raises:
        ServedError: another process serves the desk, or the port is taken.
    """
    with (dagster_home(data_dir) / "served.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ServedError(
                f"{data_dir} is served already, {lock.read() or 'by another process'}. Open that"
                " page, or end that process first."
            ) from None
        try:
            # With SO_REUSEADDR, as the UI binds it: a port that has just been left is free.
            socket.create_server((HOST, port)).close()
        except OSError as error:
            raise ServedError(
                f"The UI cannot be served at http://{HOST}:{port}: {error.strerror}. Give it"
                " another port, as in: tickets dev --port 3005"
            ) from None
        lock.truncate(0)
        lock.write(f"at http://{HOST}:{port} by process {os.getpid()}")
        lock.flush()
        yield lock


def serve(data_dir: Path, port: int, lock: TextIO) -> int:
    """Serve the UI on `port` and run the daemon until a signal ends them; Dagster's exit code.

    Dagster's process holds the lock as well, since it outlives this one when that is killed.

    Raises:
        InstanceError, PostgresError: Dagster's storage cannot be used.
    """
    with desk_instance(data_dir):
        pass
    # Where Ctrl-C is ignored, as in the background of a script, Dagster would ignore SIGTERM too.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    # In its own process group, so that it gets Ctrl-C once: from this process.
    process = subprocess.Popen(  # noqa: S603
        [
            *(sys.executable, "-m", "dagster", "dev", "--workspace", str(WORKSPACE)),
            *("--host", HOST, "--port", str(port)),
        ],
        env={**os.environ, "DAGSTER_HOME": str(dagster_home(data_dir))},
        process_group=0,
        pass_fds=[lock.fileno()],
    )
    signal.signal(signal.SIGINT, handler)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
