"""The sensor new_mail: what lands is requested, each day once with what it holds in the end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from ticket_assets.defs.clean_tickets import clean_tickets
from ticket_assets.defs.conventions import with_conventions
from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.defs.new_mail import SourceFailedError, new_mail
from ticket_assets.defs.partitions import run_window
from ticket_assets.defs.raw_tickets import (
    raw_tickets,
    received_dates_are_inside_the_partition,
)
from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import LANDED_FINGERPRINT, DayRange, day_fingerprint
from ticket_assets.mail.landing import Label, LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.settings import Settings
from ticket_assets.storage.tables import SCHEMA
from ticket_assets.storage.warehouse import Warehouse

PROJECT = Path(__file__).parents[2]
FIRST = date(2025, 6, 1)


def day(number: int) -> date:
    return FIRST + timedelta(number - 1)


def mail(name: object, number: int) -> bytes:
    return (
        f"From: Anne <anne@example.org>\r\nSubject: Mail {name}\r\n"
        f"Date: {day(number):%a, %d %b %Y} 09:00:00 +0000\r\nMessage-ID: <{name}@example.org>\r\n"
        f"\r\nThe printer number {name} on our floor is out of paper again.\r\n"
    ).encode()


@pytest.fixture
def landing(settings: Settings) -> LandingZone:
    return LandingZone(settings.landing_dir)


@pytest.fixture
def land(landing: LandingZone) -> Callable[..., None]:
    """Lands mails, one per given day of June, behind the sensor's back."""

    def run(*numbers: int, name: str = "mail") -> None:
        landing.land([mail_message(mail(f"{name}-{number}", number), "test") for number in numbers])

    return run


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def tick(settings: Settings, instance: dg.DagsterInstance) -> Callable[..., dg.SensorResult]:
    """One evaluation after the other, with the cursor carried on; settings may be changed.

    As the daemon does, it creates the runs; they end without having read anything.
    """
    cursor: str | None = None

    def run(*, submitted: bool = True, **changes: object) -> dg.SensorResult:
        nonlocal cursor
        context = dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            resources={"desk": Desk(settings.model_copy(update=changes))},
        )
        result = new_mail(context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor or cursor
        for request in (result.run_requests or []) if submitted else []:
            instance.create_run_for_job(
                dg.GraphDefinition(name="any").to_job(),
                tags={"dagster/run_key": request.run_key, "dagster/sensor_name": "new_mail"},
                status=dg.DagsterRunStatus.FAILURE,
            )
        return result

    return run


@pytest.fixture
def read(instance: dg.DagsterInstance, landing: LandingZone) -> Callable[..., None]:
    """Records that raw_tickets has read these days as they are now."""

    def run(*days: date) -> None:
        for each in days:
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    "raw_tickets",
                    partition=each.isoformat(),
                    metadata={LANDED_FINGERPRINT: day_fingerprint(landing, each)},
                )
            )

    return run


def windows(result: dg.SensorResult) -> list[tuple[str, date, date]]:
    found = []
    for request in result.run_requests or []:
        tags = request.tags
        if request.partition_key:
            tags = {"dagster/partition": request.partition_key}
        window = run_window(tags)
        assert window is not None
        found.append((str(request.job_name), *window))
    return found


def test_a_desk_without_mail_requests_nothing(tick):
    assert windows(result := tick()) == []
    assert str(result.skip_reason.skip_message) == "No new mail."


def test_days_that_follow_each_other_are_one_run_and_are_requested_once(tick, land):
    land(3, 4, 5, 9)

    first, second = tick(), tick()

    assert windows(first) == [("collect_mail", day(3), day(5)), ("collect_mail", day(9), day(9))]
    assert windows(second) == []


def test_a_request_that_the_daemon_lost_is_made_again(tick, land):
    land(3)

    assert windows(tick(submitted=False)) == [("collect_mail", day(3), day(3))]
    assert windows(tick()) == [("collect_mail", day(3), day(3))]
    assert windows(tick()) == []


def test_late_mail_for_a_past_day_requests_that_day_alone(tick, land, read):
    land(3, 4, 5)
    tick()
    read(day(3), day(4), day(5))
    assert windows(tick()) == []

    land(4, name="late")

    assert windows(tick()) == [("collect_mail", day(4), day(4))]


def test_a_day_that_was_read_as_it_is_now_is_not_requested(tick, land, read):
    """As after `make demo`: the days were materialised before the sensor's first tick."""
    land(3, 4)
    read(day(3), day(4))

    assert windows(tick()) == []
    land(5)
    assert windows(tick()) == [("collect_mail", day(5), day(5))]


def test_mail_that_comes_while_a_run_is_at_work_on_its_day_waits_for_the_end_of_the_run(
    tick, land, read, instance
):
    land(3)
    tick()
    run = instance.create_run_for_job(
        dg.GraphDefinition(name="any").to_job(),
        tags={"dagster/partition": day(3).isoformat(), "dagster/sensor_name": "new_mail"},
        status=dg.DagsterRunStatus.STARTED,
    )
    read(day(3))
    land(3, name="late")
    land(4)

    first = tick()
    assert windows(first) == [("collect_mail", day(4), day(4))]
    second = tick()
    assert windows(second) == []
    assert "Changed again while a run is at work on them: 2025-06-03." in str(
        second.skip_reason.skip_message
    )
    instance.report_run_canceled(run)
    assert windows(tick()) == [("collect_mail", day(3), day(3))]


def test_labels_for_a_first_champion_have_the_whole_graph_run_over_all_days_once(
    tick, land, read, landing, instance
):
    land(3, 5)
    tick()
    read(day(3), day(5))
    landing.land_labels(
        Label(category, None, mail_message(mail("x", 1), "x").received_at, "desk", f"{number:020x}",
              None)
        for number, category in enumerate(["network", "printing"] * 5)
    )  # fmt: skip

    assert windows(tick()) == [("whole_graph", day(3), day(5))]
    assert windows(tick()) == [], "a candidate that is refused is not trained again at each tick"
    land(6)
    assert windows(tick()) == [("collect_mail", day(6), day(6))]


def test_mail_from_before_the_loaded_partitions_asks_for_a_reload(tick, landing, land):
    landing.land([mail_message(mail("old", -5), "test")])
    land(3)

    result = tick(first_day=None)
    assert windows(result) == [("collect_mail", day(3), day(3))]

    assert str(tick(first_day=None).skip_reason.skip_message) == (
        "No new mail. Mail waits from before the first day that Dagster has loaded: 2025-05-26."
        " Reload the code location."
    )


def test_a_source_that_fails_fails_the_tick_in_one_line_and_not_the_next(
    tick, settings, tmp_path, landing
):
    missing = tmp_path / "none"
    maildir = tmp_path / "Maildir"
    (maildir / "cur").mkdir(parents=True)
    (maildir / "new").mkdir()
    (maildir / "new" / "1.host").write_bytes(mail("arrived", 3))

    with pytest.raises(SourceFailedError) as error:
        tick(drop_folder=missing, maildir=maildir)

    assert str(error.value).startswith(f"Cannot read the drop folder {missing}: No such file")
    assert "\n" not in str(error.value)
    assert landing.days() == [day(3)]
    assert windows(tick(drop_folder=missing, maildir=maildir)) == [("collect_mail", day(3), day(3))]
    waits = str(tick(drop_folder=missing, maildir=maildir).skip_reason.skip_message)
    assert waits.startswith("No new mail. Not looked at until ")


@pytest.fixture
def desk(settings: Settings) -> dg.Definitions:
    """The first assets and their checks, over the test's own data folder."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    reading = dg.AssetSelection.assets(raw_tickets, clean_tickets)
    return dg.Definitions(
        assets=[raw_tickets, clean_tickets],
        asset_checks=[received_dates_are_inside_the_partition],
        jobs=[
            dg.define_asset_job("collect_mail", reading),
            dg.define_asset_job("check", dg.AssetSelection.all_asset_checks()),
        ],
        resources={
            "desk": Desk(settings),
            "io_manager": WarehouseIOManager(database=str(settings.warehouse_path), schema=SCHEMA),
        },
    ).map_resolved_asset_specs(func=with_conventions)


@pytest.mark.slow
def test_the_requested_run_reads_its_days_and_leaves_nothing_to_request(
    tick, land, settings, instance, desk
):
    job = desk.resolve_job_def("collect_mail")

    def run(result: dg.SensorResult) -> None:
        for request in result.run_requests or []:
            single = {"dagster/partition": request.partition_key} if request.partition_key else {}
            done = job.execute_in_process(instance=instance, tags={**request.tags, **single})
            assert done.success

    def stored(table: str) -> list[tuple[str, int]]:
        return Warehouse(settings.warehouse_path).rows(
            f"select strftime(received_at, '%d'), count(*) from {table} group by all order by 1"  # noqa: S608
        )

    land(3, 4, 6)
    run(tick())
    assert stored("raw_tickets") == stored("clean_tickets") == [("03", 1), ("04", 1), ("06", 1)]
    assert windows(tick()) == []

    land(4, name="late")
    late = tick()
    assert windows(late) == [("collect_mail", day(4), day(4))]
    run(late)
    assert stored("clean_tickets") == [("03", 1), ("04", 2), ("06", 1)]
    assert windows(tick()) == []


@pytest.mark.slow
def test_mail_that_lands_after_its_day_was_read_does_not_fail_the_run(land, instance, desk):
    """A busy desk receives mail at any moment, also between raw_tickets and its checks."""
    tags = {"dagster/partition": day(3).isoformat()}
    land(3)
    desk.resolve_job_def("collect_mail").execute_in_process(instance=instance, tags=tags)

    land(3, name="late")

    checked = desk.resolve_job_def("check").execute_in_process(instance=instance, tags=tags)
    assert checked.success
    assert [each.passed for each in checked.get_asset_check_evaluations()] == [True]


class Ticks:
    """The process of sensor_ticks.py, over a desk and a Dagster instance of its own."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        outer = {name: value for name, value in os.environ.items() if "TICKETS_" not in name}
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("sensor_ticks.py")],
            cwd=home,
            env={**outer, **settings, "DAGSTER_HOME": str(home), "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, seconds: float = 60) -> bool:
        """One tick, killed after so many seconds; whether it had come to its end by then."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        status = int(self._line())
        assert status in (0, signal.SIGKILL)
        return status == 0

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.slow
def test_a_sensor_that_is_killed_anywhere_loses_and_doubles_nothing(tmp_path, mailbox, account):
    shutil.copy(PROJECT / "dagster_home" / "dagster.yaml", tmp_path)
    ticks = Ticks(
        tmp_path,
        {
            "TICKETS_DATA_DIR": str(tmp_path / "data"),
            "TICKETS_FIRST_DAY": FIRST.isoformat(),
            "TICKETS_IMAP_HOST": account().host,
            "TICKETS_IMAP_PORT": str(account().port),
            "TICKETS_IMAP_SECURITY": "plain",
            "TICKETS_IMAP_USER": account().user,
            "TICKETS_IMAP_PASSWORD": account().password,
            "TICKETS_IMAP_BATCH": "100",
        },
    )
    landing = LandingZone(tmp_path / "data" / "landing")
    draw = np.random.default_rng(5)
    contents: list[bytes] = []
    read: dict[date, str] = {}

    def deliver(count: int) -> None:
        new = [
            mail(len(contents) + number, int(draw.choice([1, 2, 4])))
            + draw.bytes(2000).hex().encode()
            for number in range(count)
        ]
        mailbox.multiappend("INBOX", new)
        contents.extend(new)

    def landed() -> list[bytes]:
        return [message.read() for each in landing.days() for message in landing.messages(each)]

    def present() -> dict[date, str]:
        return {each: day_fingerprint(landing, each) for each in landing.days()}

    def finish_runs(instance: dg.DagsterInstance) -> None:
        """What a launched run does, as far as it matters here: it reads its days and ends."""
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
            window = run_window(run.tags)
            assert window is not None
            for each in DayRange(*window).days():
                read[each] = day_fingerprint(landing, each)
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(
                        "raw_tickets",
                        partition=each.isoformat(),
                        metadata={LANDED_FINGERPRINT: read[each]},
                    )
                )
            instance.report_run_canceled(run)

    try:
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            deliver(20)
            started = time.monotonic()
            assert ticks.run()
            length = time.monotonic() - started
            kills = 0
            while kills < 30:
                deliver(10)
                kills += not ticks.run(draw.uniform(0, 0.9 * length))
                if draw.random() < 0.5:
                    finish_runs(instance)
            while len(landed()) < len(contents) or read != present():
                assert ticks.run()
                finish_runs(instance)
            assert ticks.run()

            runs = instance.get_runs()
    finally:
        ticks.stop()

    assert sorted(landed()) == sorted(contents)
    assert read == present()
    keys = [run.tags["dagster/run_key"] for run in runs]
    assert len(keys) == len(set(keys)) > 10
    assert [run for run in runs if run.status == dg.DagsterRunStatus.QUEUED] == []
