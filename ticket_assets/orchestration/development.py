"""Dagster's UI and daemon for one desk, on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ticket_assets.orchestration.instance import WORKSPACE, dagster_home

HOST = "127.0.0.1"
PATIENCE_SECONDS = 120.0
"""Dagster gives each of its processes 60 seconds to end."""


def serve(data_dir: Path, port: int) -> int:
    """Serve the UI on `port` and run the daemon until a signal ends them; Dagster's exit code."""
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
    )
    signal.signal(signal.SIGINT, handler)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
