"""A data folder with Dagster's UI, daemon and code server at work on it: `tickets dev`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.events import DagsterEventType
from dagster._core.storage.dagster_run import DagsterRun

from tests.loopback import free_port
from tests.services.warm_processes import warm_processes
from ticket_assets.orchestration.instance import desk_instance


class LivingDesk:
    """A data folder with a drop folder, and Dagster's processes on it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.data, self.drop = folder, folder / "data", folder / "drop"
        self._port = str(free_port())
        self.address = f"http://127.0.0.1:{self._port}"
        self.drop.mkdir()
        outer = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TICKETS_", "DAGSTER_"))
        }
        self.environment = {
            **outer,
            "TICKETS_DATA_DIR": str(self.data),
            "TICKETS_DROP_FOLDER": str(self.drop),
            "TICKETS_POLL_SECONDS": "10",
            "TICKETS_ENCODER": "all-minilm-l6-v2",
            "TICKETS_ENCODER_MAX_TOKENS": "64",
            "TICKETS_MIN_CLASS_TICKETS": "5",
            # How good a model of so little mail is depends on the day the sample ends.
            "TICKETS_MACRO_F1_FLOOR": "0.2",
            "TICKETS_RETRAIN_MIN_LABELS": "60",
            "TICKETS_RETRAIN_PAUSE_HOURS": "0",
            "TICKETS_REPORTS_URL": f"http://127.0.0.1:{free_port()}",
            "TICKETS_EVIDENTLY_URL": f"http://127.0.0.1:{free_port()}",
            **settings,
        }
        self._log = folder / "dev.log"

    def command(self, *arguments: str | Path, succeeds: bool = True) -> None:
        outcome = warm_processes().run(
            ["tickets", *map(str, arguments)], self.environment, self.folder
        )
        assert (outcome.returncode == 0) == succeeds, outcome.stdout + outcome.stderr

    @contextmanager
    def left_alone(self, **settings: str) -> Iterator[None]:
        """Runs `tickets dev` until the block ends."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ticket_assets", "dev", "--port", self._port],
                cwd=self.folder, env=self.environment | settings, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            self.wait_until(self._answers, "the UI answers")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(180)

    @contextmanager
    def evidently(self) -> Iterator[list[str]]:
        """Runs `tickets evidently` until the block ends; yields the lines that it said."""
        address, log = self.environment["TICKETS_EVIDENTLY_URL"], self.folder / "evidently.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "ticket_assets", "evidently"],
                cwd=self.folder, env=self.environment, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        lines: list[str] = []
        try:
            self.wait_until(lambda: answers(f"{address}/api/version"), "Evidently's UI answers")
            lines += log.read_text().splitlines()
            yield lines
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
        assert (code, log.read_text().splitlines()) == (0, lines)

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 400) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(
                    f"After {seconds:.0f} s it is not so that {what}.\n{self._end_of_log()}"
                )
            time.sleep(1)

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])

    def predictions(self, first: date, last: date) -> dict[str, int]:
        """How many predictions of these days each model has made; none while a run writes."""
        try:
            with duckdb.connect(str(self.data / "warehouse.duckdb"), read_only=True) as connection:
                rows = connection.execute(
                    "select model_version, count(*) from tickets.ticket_predictions"
                    " where received_at::date between ? and ? group by all",
                    [first, last],
                ).fetchall()
        except (duckdb.IOException, duckdb.CatalogException):
            return {}
        return dict(rows)

    def runs(self, sensor: str, job: str | None = None) -> list[DagsterRun]:
        with desk_instance(self.data) as instance:
            tags = {"dagster/sensor_name": sensor}
            return list(instance.get_runs(dg.RunsFilter(tags=tags, job_name=job)))

    def lapses(self, asset: str) -> list[float]:
        """When the asset became late, in seconds since 1970."""
        changes = dg.EventRecordsFilter(
            DagsterEventType.FRESHNESS_STATE_CHANGE, asset_key=dg.AssetKey(asset)
        )
        with desk_instance(self.data) as instance:
            records = instance.event_log_storage.get_event_records(changes, ascending=True)
        return [
            record.timestamp
            for record in records
            if (event := record.event_log_entry.dagster_event)
            and event.event_specific_data.new_state == FreshnessState.FAIL
        ]

    def starts(self, asset: str) -> list[float]:
        """When automation has requested a run for this asset."""
        tags = {"dagster/sensor_name": "automation"}
        with desk_instance(self.data) as instance:
            records = instance.get_run_records(dg.RunsFilter(tags=tags))
        return [
            record.create_timestamp.timestamp()
            for record in records
            if dg.AssetKey(asset) in (record.dagster_run.asset_selection or ())
        ]

    def reload(self) -> None:
        """Has the code location loaded anew, as the button in the UI does."""
        assert self._asked("mutation { reloadWorkspace { __typename } }") == {
            "data": {"reloadWorkspace": {"__typename": "Workspace"}}
        }

    def _answers(self) -> bool:
        try:
            return "data" in self._asked("{ version }")
        except OSError:
            return False

    def _asked(self, query: str) -> dict:
        """The UI's answer to a GraphQL query."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.address}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def verdict_on_drift(self, day: date) -> str | None:
        """The status of the drift check's last execution for a day."""
        key = dg.AssetCheckKey(dg.AssetKey("drift_report"), "drift_is_within_bounds")
        with desk_instance(self.data) as instance:
            for record in instance.event_log_storage.get_asset_check_execution_history(key, 50):
                if record.partition == day.isoformat():
                    return record.status.value
        return None

    def champion(self) -> str:
        with desk_instance(self.data) as instance:
            event = instance.get_latest_materialization_event(dg.AssetKey("ticket_classifier"))
        assert event is not None
        assert event.asset_materialization is not None
        return str(event.asset_materialization.metadata["version"].value)


def answers(address: str) -> bool:
    """Whether there is a page at this address yet."""
    try:
        with urllib.request.urlopen(address) as page:  # noqa: S310
            return bool(page.status == 200)
    except OSError:
        return False
