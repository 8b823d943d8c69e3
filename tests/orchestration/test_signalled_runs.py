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
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.sample.mailbox import generate, write_mailbox
from ticket_assets.storage.day_origins import UNPARTITIONED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(int(os.environ.get("CRASH_TIMEOUT", "1800")))]

CHAINS = int(os.environ.get("CRASH_CHAINS", "5"))
MESSAGES = int(os.environ.get("CRASH_MESSAGES", "250"))
DAYS = int(os.environ.get("CRASH_DAYS", "4"))
SIGNALS = ["SIGKILL"] * 4 + ["SIGTERM", "SIGINT"]
"""Those of one chain: each run but the last is ended by one of them and followed by the next."""
STATUS = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}
INTERRUPTED = "Error: Interrupted. What was finished is kept; run the command again to go on."


class Desk:
    """A data folder in which mail has landed, and the process that runs the command on it."""

    def __init__(self, folder: Path) -> None:
        self.data, self._landed = folder / "data", folder / "landed"
        outer = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TICKETS_", "DAGSTER_"))
        }
        environment = {
            **outer,
            "TICKETS_DATA_DIR": str(self.data),
            "TICKETS_ENCODER": "all-minilm-l6-v2",
            "TICKETS_ENCODER_PRECISION": "fp32",
            "TICKETS_ENCODER_MAX_TOKENS": "64",
            "TICKETS_MIN_CLASS_TICKETS": "5",
            "TICKETS_MACRO_F1_FLOOR": "0",
            # Threads of numerical libraries do not survive a fork.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        sample = write_mailbox(
            folder / "sample", list(generate(messages=MESSAGES, days=DAYS, until=yesterday))
        )
        subprocess.run(
            [
                *(sys.executable, "-m", "ticket_assets", "import", sample.mailbox),
                *("--labels", sample.labels),
            ],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
        )
        shutil.copytree(self.data, self._landed)
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("signalled_runs.py")],
            cwd=folder,
            env=environment,
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

    def forget_all_runs(self) -> None:
        shutil.rmtree(self.data)
        shutil.copytree(self._landed, self.data)

    def tables(self) -> dict[str, list[tuple]]:
        with duckdb.connect(str(self.data / "warehouse.duckdb"), read_only=True) as warehouse:
            names = warehouse.execute(
                "select table_name from information_schema.tables where table_schema = 'tickets'"
            ).fetchall()
            # A run for what is missing passes over the days without mail, such as today.
            with_mail = (
                f"where day = date '{UNPARTITIONED}'"  # noqa: S608
                " or day in (select received_at::date from tickets.raw_tickets)"
            )
            return {
                name: warehouse.execute(
                    f"from tickets.{name} {with_mail if name == 'day_origins' else ''} order by all"
                ).fetchall()
                for (name,) in names
            }

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("killed"))
    yield desk
    desk.end()


@pytest.fixture(scope="module")
def undisturbed(desk: Desk) -> tuple[int, dict[str, list[tuple]]]:
    """The events and the tables of a run without a signal."""
    status, events, output = desk.run()
    assert status == 0, output
    return events, desk.tables()


@pytest.mark.parametrize("chain", range(CHAINS))
def test_after_any_signal_the_next_run_ends_well(desk: Desk, undisturbed, chain: int) -> None:
    events, tables = undisturbed
    choice = random.Random(chain)  # noqa: S311
    desk.forget_all_runs()
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
    with desk_instance(desk.data) as instance:
        states = [run.status.value for run in instance.get_runs()]
        # Where a run was killed after its last rows, the next one has nothing to do.
        assert set(states) <= {"FAILURE", "CANCELED", "SUCCESS"}
        assert not instance.event_log_storage.get_concurrency_run_ids()
