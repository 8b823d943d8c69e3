"""Starts commands of the product as children that have loaded the libraries already.

Each line of standard input orders one, as JSON: number, command, environment, folder, log. Answers
are lines as well: a child's number, its process, and in the end its exit code, as a shell gives it.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import signal
import sys
import time
import traceback
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any

import time_machine

# Not the graph: it reads the settings and asks the stores when it is imported.
LIBRARIES = (
    "dagster",
    "dagster._cli",
    "dagster_duckdb_pandas",
    "dagster_k8s",
    "dagster_postgres",
    "ticket_assets.cli",
    "ticket_assets.drift.report",
    "ticket_assets.drift.evidently_metrics",
    "ticket_assets.classification.training",
    "ticket_assets.classification.evaluation_plots",
    "ticket_assets.classification.model_store",
    "ticket_assets.embedding.encoder",
    "ticket_assets.orchestration.postgres",
    "matplotlib.pyplot",
    "chromadb",
    "obstore",
    "openvino",
    "scipy.special",
    "tokenizers",
)


def main() -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
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
                start(json.loads(line), children)


def start(order: dict[str, Any], children: dict[int, int]) -> None:
    process = os.fork()
    if process == 0:
        become(order)
    children[process] = order["number"]
    answer(order["number"], process, None)


def become(order: dict[str, Any]) -> None:
    """Runs the command in this process, and does not return."""
    code = 70
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(stream, target)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        time.tzset()
        if offset := float(os.environ.pop("CLOCK_OFFSET_SECONDS")):
            time_machine.travel(time.time() + offset).start()
        sys.argv = order["command"]
        (command,) = entry_points(group="console_scripts", name=sys.argv[0])
        command.load()()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        code = 1
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
