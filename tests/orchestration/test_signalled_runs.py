"""A run that is killed, terminated or interrupted after any event leaves nothing in the way of the
next one, which makes the same tables as if nothing had happened.

`make crash` does 200 signals on the demo's mailbox.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.days import last_friday
from tests.services.stores import Stores
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.sample.mailbox import generate, write_mailbox
from ticket_assets.storage.day_origins import UNPARTITIONED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(int(os.environ.get("CRASH_TIMEOUT", "1800")))]

CHAINS = int(os.environ.get("CRASH_CHAINS", "5"))
MESSAGES = int(os.environ.get("CRASH_MESSAGES", "250"))
DAYS = int(os.environ.get("CRASH_DAYS", "4"))
SHARED_CHAINS = int(os.environ.get("CRASH_SHARED_CHAINS", "1"))
SIGNALS = ["SIGKILL"] * 4 + ["SIGTERM", "SIGINT"]
"""Those of one chain: each run but the last is ended by one of them and followed by the next."""
STATUS = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}
INTERRUPTED = "Error: Interrupted. What was finished is kept; run the command again to go on."


class CommandProcess:
    """The process that runs the command on a desk in which mail has landed."""

    def __init__(self, stores: Stores, sample: Path) -> None:
        self.stores = stores
        stores.tickets("import", sample / "mailbox.mbox", "--labels", sample / "labels.csv")
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("signalled_runs.py")],
            cwd=stores.folder,
            # Threads of numerical libraries do not survive a fork.
            env={**stores.environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def run(self, signal: str = "SIGKILL", event: int = 0) -> tuple[int, int, str]:
        """`tickets run`: its exit status, the events it had, what it said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(signal, event, file=self._process.stdin, flush=True)
        status, events, output = json.loads(self._process.stdout.readline())
        return status, events, output

    def tables(self) -> dict[str, list[str]]:
        """Their rows; a run for what is missing passes over days without mail, such as today."""
        tables = self.stores.tables()
        with_mail = self.stores.desk().landing.days()
        tables["day_origins"] = [
            row
            for row in tables["day_origins"]
            if any(repr(day) in row for day in [UNPARTITIONED, *with_mail])
        ]
        return tables

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_mailbox(folder, list(generate(messages=MESSAGES, days=DAYS, until=last_friday())))
    return folder


@pytest.fixture(scope="module")
def desk(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandProcess]:
    desk = CommandProcess(Stores(tmp_path_factory.mktemp("killed") / "desk"), sample)
    shutil.copytree(desk.stores.folder / "data", desk.stores.folder / "landed")
    yield desk
    desk.end()


@pytest.fixture(scope="module")
def undisturbed(desk: CommandProcess) -> tuple[int, dict[str, list[str]]]:
    """The events and the tables of a run without a signal."""
    status, events, output = desk.run()
    assert status == 0, output
    return events, desk.tables()


@pytest.mark.parametrize("chain", range(CHAINS))
def test_after_any_signal_the_next_run_ends_well(
    desk: CommandProcess, undisturbed, chain: int
) -> None:
    shutil.rmtree(desk.stores.folder / "data")
    shutil.copytree(desk.stores.folder / "landed", desk.stores.folder / "data")
    signal_and_run_again(desk, undisturbed, random.Random(chain))  # noqa: S311


@pytest.mark.parametrize("chain", range(SHARED_CHAINS))
def test_so_it_does_on_shared_stores(shared_stores, sample: Path, undisturbed, chain: int) -> None:
    desk = CommandProcess(shared_stores(), sample)
    signal_and_run_again(desk, undisturbed, random.Random(chain))  # noqa: S311
    desk.end()


def signal_and_run_again(desk: CommandProcess, undisturbed, choice: random.Random) -> None:
    events, tables = undisturbed
    for signal in choice.sample(SIGNALS, len(SIGNALS)):
        event = choice.randint(1, events)
        status, seen, output = desk.run(signal, event)
        place = f"{signal} after event {event} of {events}, {seen} seen: {output}"
        # A run that has less to do than the first one may have ended before that event.
        expected = STATUS[signal] if seen >= event else 0
        assert status == expected, place
        assert "Waits for" not in output, place
        assert "Traceback" not in output, place
        if expected > 0:
            assert output.splitlines()[-1] == INTERRUPTED, place

    status, _, output = desk.run()

    assert status == 0, output
    assert "Waits for" not in output
    assert desk.tables() == tables
    with desk_instance(desk.stores.desk().folder) as instance:
        states = [run.status.value for run in instance.get_runs()]
        # Where a run was killed after its last rows, the next one has nothing to do.
        assert set(states) <= {"FAILURE", "CANCELED", "SUCCESS"}
        assert not instance.event_log_storage.get_concurrency_run_ids()
