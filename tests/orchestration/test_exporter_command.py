"""`tickets exporter` as a process: served, alone, and ended by a signal."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.loopback import free_port
from tests.services import wait_until
from ticket_assets.settings import child_environment

pytestmark = pytest.mark.slow


def started(data: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ticket_assets", "exporter", "--port", str(port)],
        env=child_environment({"data_dir": str(data)}),
        cwd=data.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def answer(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_one_exporter_serves_a_desk_until_a_signal(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    first = started(data, port)
    wait_until(lambda: answer(port, "/healthz")[0] == 200, "the exporter", 120)
    status, metrics = answer(port, "/metrics")

    second = started(data, free_port())
    said, _ = second.communicate(timeout=120)
    os.kill(first.pid, signal.SIGTERM)

    assert status == 200
    assert "tickets_unsorted_messages 0.0\n" in metrics
    assert 'tickets_exporter_read_failed{part="mail"} 0.0\n' in metrics
    assert 'tickets_process_resident_memory_bytes{process="exporter"}' in metrics
    assert second.returncode == 1
    assert "Another exporter counts for the desk" in said.replace("\n", " ")
    assert first.wait(60) == 143
    # The next one is not kept out.
    third = started(data, port)
    wait_until(lambda: answer(port, "/healthz")[0] == 200, "the exporter", 120)
    third.kill()
    third.wait()
