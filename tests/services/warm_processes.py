"""Commands of the product as processes that have loaded the libraries already, which takes a
command four seconds of work otherwise.

They are forked from a process that this module is the program of. Each line of its standard input
orders one, as JSON. Its answers are lines as well: a child's number, its process, and in the end
its exit code, as a shell gives it.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import IO, Any

# Not the graph: it reads the settings and asks the stores when it is imported. SciPy first, since
# skops searches all modules in the order of their import for each of its functions.
LIBRARIES = (
    "scipy.special",
    "chromadb",
    "dagster",
    "dagster._cli",
    "dagster_duckdb_pandas",
    "dagster_k8s",
    "dagster_postgres",
    "matplotlib.pyplot",
    "obstore",
    "openvino",
    "plotly.graph_objects",
    "tokenizers",
    "ticket_assets.classification.evaluation_plots",
    "ticket_assets.classification.model_store",
    "ticket_assets.classification.training",
    "ticket_assets.cli",
    "ticket_assets.drift.evidently_metrics",
    "ticket_assets.drift.plots",
    "ticket_assets.drift.report",
    "ticket_assets.embedding.configured",
    "ticket_assets.mail.importing",
    "ticket_assets.mail.parsing",
    "ticket_assets.orchestration.instance",
    "ticket_assets.orchestration.postgres",
    "ticket_assets.status",
    "ticket_assets.storage.collection",
    "ticket_assets.text.cleaning",
)
COMMANDS = ("tickets", "dagster")
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads of numerical libraries do not survive a fork."""


class WarmProcess:
    """A process that was forked from one with the libraries."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.pid = 0
        self.code: int | None = None
        self.is_started, self.is_ended = threading.Event(), threading.Event()

    def exit_code(self) -> int | None:
        """None while it runs; a signal's number is added to 128."""
        return self.code

    def wait(self, seconds: float) -> int:
        """The exit code, once it has one."""
        assert self.is_ended.wait(seconds), f"process {self.pid} has not ended after {seconds} s"
        assert self.code is not None
        return self.code

    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        """Sends it a signal, if it still runs; SIGKILL goes to its children too."""
        self.is_started.wait(60)
        if self.code is None:
            send(self.pid, number)


class WarmProcesses:
    """The process that others are forked from, seen from the tests."""

    def __init__(self, libraries: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._started: dict[int, WarmProcess] = {}
        self._parent = subprocess.Popen(
            [sys.executable, "-m", __name__, *libraries],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **THREADS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        *,
        errors: Path | None = None,
        given: Path = Path(os.devnull),
        largest_file: int | None = None,
        clock_offset: float = 0.0,
    ) -> WarmProcess:
        """The command, at work.

        Args:
            log: takes what it says; of its errors, where `errors` names no other file.
            given: its standard input.
            largest_file: bytes that it may write into a file.
            clock_offset: seconds by which its clock is wrong.
        """
        log.touch()  # killed before it has opened it, a process has said nothing
        order = {
            "command": list(command),
            "environment": dict(environment),
            "folder": str(folder),
            "streams": [str(given), str(log), str(errors or log)],
            "largest_file": largest_file,
            "clock_offset": clock_offset,
        }
        with self._lock:
            number = len(self._started)
            process = self._started[number] = WarmProcess(log)
            _open(self._parent.stdin).write(f"{json.dumps({'number': number, **order})}\n")
        return process

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        given: bytes = b"",
        largest_file: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """The command once it has ended."""
        with tempfile.TemporaryDirectory() as name:
            stdin, stdout, stderr = (Path(name, stream) for stream in ("in", "out", "err"))
            stdin.write_bytes(given)
            process = self.start(
                *(command, environment, folder, stdout),
                errors=stderr,
                given=stdin,
                largest_file=largest_file,
            )
            code = process.wait(1800)
            return subprocess.CompletedProcess(
                command, code, stdout.read_text("utf-8"), stderr.read_text("utf-8")
            )

    def _listen(self) -> None:
        for line in _open(self._parent.stdout):
            answer = json.loads(line)
            process = self._started[answer["number"]]
            process.pid, process.code = answer["pid"], answer["code"]
            process.is_started.set()
            if process.code is not None:
                process.is_ended.set()


@functools.cache
def warm_processes() -> WarmProcesses:
    """Those of this process of pytest; they end with it."""
    return WarmProcesses(LIBRARIES)


def send(process: int, number: int) -> None:
    """Sends a process a signal; SIGKILL goes to its children too."""
    with suppress(ProcessLookupError):
        if number == signal.SIGKILL:
            with suppress(ProcessLookupError):  # it has no group of its own yet
                os.killpg(process, number)
        os.kill(process, number)


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def main() -> None:
    for library in sys.argv[1:]:
        importlib.import_module(library)
    if store := sys.modules.get("ticket_assets.classification.model_store"):
        # As the product loads it: without PyTorch.
        store._skops()
    scripts = entry_points(group="console_scripts")
    commands = {name: scripts[name] for name in COMMANDS}
    children: dict[int, int] = {}
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(reader, selectors.EVENT_READ)
    waiting = b""
    while True:
        for key, _ in selector.select():
            if key.fd == reader:
                os.read(reader, 1000)
                report_ends(children)
                continue
            sent = os.read(0, 1 << 20)
            if not sent:
                for process in children:
                    with suppress(ProcessLookupError):
                        os.killpg(process, signal.SIGKILL)
                return
            *lines, waiting = (waiting + sent).split(b"\n")
            for line in lines:
                start(json.loads(line), commands, children)


def start(
    order: dict[str, Any], commands: Mapping[str, EntryPoint], children: dict[int, int]
) -> None:
    process = os.fork()
    if process == 0:
        become(order, commands)
    children[process] = order["number"]
    answer(order["number"], process, None)


def become(order: dict[str, Any], commands: Mapping[str, EntryPoint]) -> None:
    """Runs the command in this process, and does not return."""
    code = 70
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream, path in enumerate(order["streams"]):
            access = os.O_WRONLY | os.O_CREAT | os.O_APPEND if stream else os.O_RDONLY
            os.dup2(os.open(path, access, 0o644), stream)
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        time.tzset()
        if order["clock_offset"]:
            import time_machine

            time_machine.travel(time.time() + order["clock_offset"]).start()
        if order["largest_file"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"],) * 2)
        sys.argv = order["command"]
        commands[sys.argv[0]].load()()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        code = 1
    with suppress(Exception):
        # As at the end of any process, but for the libraries, whose threads are in the parent.
        threading._shutdown()
        atexit._run_exitfuncs()
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def report_ends(children: dict[int, int]) -> None:
    while children:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        answer(children.pop(process), process, code if code >= 0 else 128 - code)


def answer(number: int, process: int, code: int | None) -> None:
    print(json.dumps({"number": number, "pid": process, "code": code}), flush=True)


if __name__ == "__main__":
    main()
