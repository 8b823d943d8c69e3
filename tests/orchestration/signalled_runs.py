"""`tickets run` as the tests kill it: one run for each line "SIGNAL EVENT" on standard input.

Each run is a process of its own, forked from this one, which has loaded the libraries, so that it
starts at once. The signal is sent after that many events of the run; EVENT 0 sends none. The answer
is a line: the exit status as os.waitpid gives it, the events seen, and what the command said, as
JSON.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import scipy.special  # noqa: F401

from ticket_assets.cli import main as tickets
from ticket_assets.cli.run import StepProgress

# Not the graph: it asks the stores when it is imported, and their connections bear no fork.
LIBRARIES = (
    "dagster",
    "dagster_duckdb_pandas",
    "ticket_assets.drift.report",
    "ticket_assets.drift.evidently_metrics",
    "ticket_assets.classification.training",
    "ticket_assets.classification.evaluation_plots",
    "ticket_assets.classification.model_store",
    "ticket_assets.embedding.encoder",
    "matplotlib.pyplot",
    "chromadb",
    "openvino",
    "tokenizers",
)


def run(number: int, event: int, seen: Path) -> None:
    show = StepProgress.__call__
    events = 0

    def count(self, shown) -> None:
        nonlocal events
        show(self, shown)
        events += 1
        seen.write_text(str(events))
        if events == event:
            os.kill(os.getpid(), number)

    StepProgress.__call__ = count
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["tickets", "run"]
    tickets()


def main() -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    print("ready", flush=True)
    for line in sys.stdin:
        name, event = line.split()
        with tempfile.TemporaryDirectory() as folder:
            said, seen = Path(folder, "said"), Path(folder, "seen")
            seen.write_text("0")
            child = os.fork()
            if child == 0:
                status = 70
                try:
                    with said.open("wb") as file:
                        os.dup2(file.fileno(), 1)
                        os.dup2(file.fileno(), 2)
                    run(signal.Signals[name], int(event), seen)
                    status = 0
                except SystemExit as stop:
                    status = stop.code if isinstance(stop.code, int) else 1
                except BaseException:
                    traceback.print_exc()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
            _, status = os.waitpid(child, 0)
            answer = [os.waitstatus_to_exitcode(status), int(seen.read_text() or 0)]
            print(json.dumps([*answer, said.read_text("utf-8", "replace")]), flush=True)


if __name__ == "__main__":
    main()
