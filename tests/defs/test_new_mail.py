"""The sensor new_mail: what lands is requested, each day once with what it holds in the end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from ticket_assets.definitions import with_conventions
from ticket_assets.defs import new_mail as sensor
from ticket_assets.defs.clean_tickets import clean_tickets
from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.defs.new_mail import SourceFailedError, new_mail
from ticket_assets.defs.partitions import run_window
from ticket_assets.defs.raw_tickets import (
    raw_tickets,
    received_dates_are_inside_the_partition,
)
from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import DayRange, day_fingerprint
from ticket_assets.mail.landing import Label, LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.removal import mark_purged
from ticket_assets.orchestration.living_runs import ALIVE_TAG, HOST_TAG, STALE_SECONDS
from ticket_assets.planning import days_to_run, recipe
from ticket_assets.planning.failed_days import read_failed_days
from ticket_assets.settings import Settings
from ticket_assets.storage.day_origins import (
    Origin,
    read_links,
    read_origins,
    replace_origins,
    require_new_links,
)
from ticket_assets.storage.warehouse import DuckDBFile

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
    return Desk(settings).landing


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

    As the daemon does, it creates the runs, which wait, and reports the observations.
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
        for event in result.asset_events:
            instance.report_runless_asset_event(event)
        for request in (result.run_requests or []) if submitted else []:
            assert request.run_key not in keys, "Dagster would pass such a request over"
            keys.add(request.run_key)
            single = {"dagster/partition": request.partition_key} if request.partition_key else {}
            instance.create_run_for_job(
                dg.GraphDefinition(name="any").to_job(),
                tags={
                    **request.tags,
                    **single,
                    "dagster/run_key": request.run_key,
                    "dagster/sensor_name": "new_mail",
                },
                status=dg.DagsterRunStatus.STARTING,
            )
        return result

    keys: set[str] = set()

    return run


@pytest.fixture
def end(instance: dg.DagsterInstance, settings: Settings) -> Callable[..., None]:
    """Ends the runs that wait: on success their days are collected as they are now."""

    def run(*, success: bool = True) -> None:
        for waiting in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
            window = run_window(waiting.tags)
            assert window is not None
            if success:
                collect(settings, *DayRange(*window).days())
            # Either way the run is over; a request that was carried out is not made again.
            instance.report_run_failed(waiting)

    return run


def collect(settings: Settings, *days: date, table: str = "ticket_collection") -> None:
    """Records that these days are in the table, made from what has landed now."""
    landing = Desk(settings).landing
    warehouse = DuckDBFile(settings.warehouse_path)
    links = read_links(warehouse)
    origins = {
        done: Origin(day_fingerprint(landing, done), "", links=links.get(done, "")) for done in days
    }
    replace_origins(warehouse, table, days, origins)


@pytest.fixture
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed days are tried again at once."""
    monkeypatch.setattr(days_to_run, "DELAYS", (timedelta(0),) * len(days_to_run.DELAYS))


def windows(result: dg.SensorResult) -> list[tuple[str, date, date]]:
    requested = []
    for request in result.run_requests or []:
        tags = request.tags
        if request.partition_key:
            tags = {"dagster/partition": request.partition_key}
        window = run_window(tags)
        assert window is not None
        requested.append((str(request.job_name), *window))
    return requested


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


def test_late_mail_for_a_past_day_requests_that_day_alone(tick, land, end):
    land(3, 4, 5)
    tick()
    end()
    assert windows(tick()) == []

    land(4, name="late")

    assert windows(tick()) == [("collect_mail", day(4), day(4))]


@pytest.mark.slow
def test_a_day_that_has_lost_all_its_mail_is_requested_once_for_its_rows(tick, land, end, landing):
    land(3, 4, 5)
    tick()
    end()
    assert windows(tick()) == []

    (only,) = landing.messages(day(4))
    landing.files.delete([only.name])

    assert windows(tick()) == [("collect_mail", day(4), day(4))]
    assert windows(tick()) == []
    end()
    assert windows(tick()) == []
    assert windows(tick()) == []


def test_a_day_whose_mail_is_purged_is_not_requested(tick, land, end, landing):
    land(3, 4)
    tick()
    end()
    (only,) = landing.messages(day(3))
    landing.files.delete([only.name])
    mark_purged(landing, day(3))

    assert windows(tick()) == []


def test_a_day_that_was_collected_as_it_is_now_is_not_requested(tick, land, settings):
    """As after `make demo`: the days were materialised before the sensor's first tick."""
    land(3, 4)
    collect(settings, day(3), day(4))

    assert windows(tick()) == []
    land(5)
    assert windows(tick()) == [("collect_mail", day(5), day(5))]


@pytest.mark.slow
def test_a_day_whose_links_to_earlier_mail_changed_is_requested_again_and_once(
    tick, land, end, settings
):
    land(3, 5)
    tick()
    end()
    assert windows(tick()) == []

    require_new_links(DuckDBFile(settings.warehouse_path), [day(5)], "a run of 3 March")

    assert windows(tick()) == [("collect_mail", day(5), day(5))]
    assert windows(tick()) == []
    end()
    assert windows(tick()) == []


@pytest.mark.slow
def test_mail_that_comes_while_a_run_is_at_work_on_its_day_waits_for_the_end_of_the_run(
    tick, land, settings, instance
):
    """Also when a person has started the run."""
    run = instance.create_run_for_job(
        dg.GraphDefinition(name="any").to_job(),
        tags={"dagster/partition": day(3).isoformat()},
        status=dg.DagsterRunStatus.STARTED,
    )
    land(3)
    collect(settings, day(3))
    land(3, name="late")
    land(4)

    assert windows(tick()) == [("collect_mail", day(4), day(4))]
    second = tick()
    assert windows(second) == []
    assert "A run is at work, or about to be, on 2 days, 2025-06-03 to 2025-06-04." in str(
        second.skip_reason.skip_message
    )
    instance.report_run_canceled(run)
    assert windows(tick()) == [("collect_mail", day(3), day(3))]


def test_a_run_that_died_keeps_its_days_back_no_longer(tick, land, instance):
    """As one of the command that was killed, when no other run has come since."""
    silent_since = datetime.now(UTC) - timedelta(seconds=STALE_SECONDS + 60)
    run = instance.create_run_for_job(
        dg.GraphDefinition(name="any").to_job(),
        tags={
            "dagster/partition": day(3).isoformat(),
            HOST_TAG: "another-host",
            ALIVE_TAG: silent_since.isoformat(),
        },
        status=dg.DagsterRunStatus.STARTED,
    )
    land(3)

    assert windows(tick()) == [("collect_mail", day(3), day(3))]
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


def test_a_failed_day_waits_and_is_tried_again(tick, land, end, monkeypatch):
    """At dcb3a9d a day was done once raw_tickets had read it, whatever became of the run."""
    land(3)
    tick()
    end(success=False)

    waits = tick()
    assert windows(waits) == []
    assert str(waits.skip_reason.skip_message).startswith(
        "No new mail. Failed and tried again from"
    )
    monkeypatch.setattr(days_to_run, "DELAYS", (timedelta(0),) * 4)

    assert windows(tick()) == [("collect_mail", day(3), day(3))]
    end()
    assert str(tick().skip_reason.skip_message) == "No new mail."


@pytest.mark.slow
@pytest.mark.usefixtures("no_delays")
def test_a_day_that_fails_again_and_again_stands_as_failed_until_something_changes(
    tick, land, end, settings, monkeypatch
):
    land(3)
    requested = 0
    while windows(tick()):
        requested += 1
        end(success=False)

    assert requested == 5
    explanation = (
        "No new mail. Failed 5 times, and not tried again until mail, code or settings change:"
        " 2025-06-03. `tickets run` tries at once."
    )
    assert [str(tick().skip_reason.skip_message) for _ in range(2)] == [explanation] * 2
    (failed,) = read_failed_days(Desk(settings).cursors)
    assert (failed.day, failed.tries, failed.next_try) == ("2025-06-03", 5, None)
    land(3, name="late")
    assert windows(tick()) == [("collect_mail", day(3), day(3))], "its mail has changed"
    end(success=False)
    while windows(tick()):
        end(success=False)
    assert windows(tick(languages=("fr",))) == [("collect_mail", day(3), day(3))], "a setting has"
    end(success=False)
    while windows(tick(languages=("fr",))):
        end(success=False)
    monkeypatch.setitem(recipe.CODE_VERSIONS, "clean_tickets", "next")
    assert windows(tick(languages=("fr",))) == [("collect_mail", day(3), day(3))], "the code has"
    end()
    tick(languages=("fr",))
    assert read_failed_days(Desk(settings).cursors) == []


def test_days_that_failed_together_are_tried_in_halves(tick, land, end, no_delays):
    land(3, 4, 5, 6)
    tick()
    end(success=False)

    assert windows(tick()) == [
        ("collect_mail", day(3), day(4)),
        ("collect_mail", day(5), day(6)),
    ]


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "_has_champion", lambda _: True)


@pytest.fixture
def automation_run(instance: dg.DagsterInstance) -> Callable[..., dg.DagsterRun]:
    """A run that automation has started for a day of June."""

    def start(number: int) -> dg.DagsterRun:
        return instance.create_run_for_job(
            dg.GraphDefinition(name="any").to_job(),
            tags={"dagster/partition": day(number).isoformat()},
            status=dg.DagsterRunStatus.STARTING,
        )

    return start


def reported(result: dg.SensorResult) -> dict[str | None, str]:
    """The data version of each day that the tick reports."""
    return {
        event.partition: event.tags["dagster/data_version"]
        for event in result.asset_events
        if event.asset_key == dg.AssetKey("landed_mail")
    }


@pytest.mark.slow
@pytest.mark.usefixtures("champion")
def test_what_has_landed_is_reported_for_automation_once_and_again_when_it_changes(
    tick, land, settings, automation_run, instance
):
    land(3, 4)
    first = tick()
    assert windows(first) == []
    assert reported(first).keys() == {"2025-06-03", "2025-06-04"}
    assert str(first.skip_reason.skip_message) == (
        "Automation takes up 2 days, 2025-06-03 to 2025-06-04."
    )
    assert reported(tick()) == {}

    for number in (3, 4):
        run = automation_run(number)
        collect(settings, day(number), table="ticket_predictions")
        instance.report_run_failed(run)  # over, in one way or another
    assert reported(tick()) == {}
    land(4, name="late")
    second = tick()

    assert windows(second) == []
    assert reported(second).keys() == {"2025-06-04"}
    assert reported(second)["2025-06-04"] != reported(first)["2025-06-04"]


@pytest.mark.usefixtures("champion")
def test_what_automation_passes_over_is_requested(tick, land, monkeypatch):
    land(3)
    tick()
    waiting = tick()
    assert windows(waiting) == []
    assert "A run is at work, or about to be, on 2025-06-03." in str(
        waiting.skip_reason.skip_message
    )

    monkeypatch.setattr(sensor, "TAKING_UP", timedelta(0))
    monkeypatch.setattr(days_to_run, "DELAYS", (timedelta(0),) * len(days_to_run.DELAYS))

    assert windows(tick()) == [("classify_mail", day(3), day(3))]
    assert windows(tick()) == []


@pytest.mark.usefixtures("champion")
def test_a_day_that_fails_by_automation_is_the_sensors(
    tick, land, automation_run, instance, monkeypatch
):
    land(3)
    tick()
    run = automation_run(3)
    assert windows(tick()) == []
    instance.report_run_failed(run)
    failed = tick()
    assert windows(failed) == []
    assert reported(failed) == {}
    assert "Failed and tried again from" in str(failed.skip_reason.skip_message)

    monkeypatch.setattr(days_to_run, "DELAYS", (timedelta(0),) * len(days_to_run.DELAYS))

    assert windows(tick()) == [("classify_mail", day(3), day(3))]


@pytest.mark.slow
@pytest.mark.usefixtures("champion")
def test_days_that_other_links_or_settings_make_anew_are_requested_and_not_reported(
    tick, land, settings
):
    land(3, 4)
    collect(settings, day(3), day(4), table="ticket_predictions")
    assert windows(tick()) == []
    require_new_links(DuckDBFile(settings.warehouse_path), [day(4)], "a change of another day")

    result = tick()

    assert windows(result) == [("classify_mail", day(4), day(4))]
    assert reported(result) == {}


@pytest.mark.slow
def test_a_warehouse_that_is_being_written_is_no_failed_tick(
    tick, land, end, settings, monkeypatch
):
    monkeypatch.setattr("ticket_assets.desk.TICK_PATIENCE_SECONDS", 0.1)
    land(3)
    tick()
    end()
    land(4)
    with DuckDBFile(settings.warehouse_path).transaction():
        busy = tick()

    assert windows(busy) == []
    assert "is in use by another process" in str(busy.skip_reason.skip_message)
    assert windows(tick()) == [("collect_mail", day(4), day(4))]


@pytest.mark.slow
def test_labels_for_a_first_champion_have_the_whole_graph_run_over_all_days_once(
    tick, land, end, landing
):
    land(3, 5)
    tick()
    end()
    landing.land_labels(
        Label(category, None, mail_message(mail("x", 1), "x").received_at, "desk", f"{number:020x}",
              None)
        for number, category in enumerate(["network", "printing"] * 5)
    )  # fmt: skip

    assert windows(tick(submitted=False)) == [("whole_graph", day(3), day(5))]
    assert windows(tick()) == [("whole_graph", day(3), day(5))], "the daemon lost the first"
    end()
    assert windows(tick()) == [], "a candidate that is refused is not trained again at each tick"
    land(6)
    assert windows(tick()) == [("collect_mail", day(6), day(6))]


@pytest.mark.slow
def test_days_that_follow_each_other_are_several_runs_where_a_run_has_a_limit(tick, land, end):
    land(3, 4, 5, 6, 7, 9)

    assert windows(tick(run_days=2)) == [
        ("collect_mail", day(3), day(4)),
        ("collect_mail", day(5), day(6)),
        ("collect_mail", day(7), day(7)),
        ("collect_mail", day(9), day(9)),
    ]
    assert windows(tick(run_days=2)) == []
    end()
    assert windows(tick(run_days=2)) == []


def test_such_runs_collect_before_one_run_learns(tick, land, end, landing):
    land(3, 4, 5)
    landing.land_labels(
        Label(category, None, mail_message(mail("x", 1), "x").received_at, "desk", f"{number:020x}",
              None)
        for number, category in enumerate(["network", "printing"] * 5)
    )  # fmt: skip

    first = windows(tick(run_days=2))
    end()

    assert first == [("collect_mail", day(3), day(4)), ("collect_mail", day(5), day(5))]
    assert windows(tick(run_days=2)) == [("whole_graph", day(3), day(5))]


def test_mail_from_before_the_loaded_partitions_asks_for_a_reload(tick, landing, land):
    landing.land([mail_message(mail("old", -5), "test")])
    land(3)

    result = tick(first_day=None)
    assert windows(result) == [("collect_mail", day(3), day(3))]

    assert str(tick(first_day=None).skip_reason.skip_message) == (
        "No new mail. Mail waits from before the first day that Dagster has loaded: 2025-05-26."
        " Reload the code location. A run is at work, or about to be, on 2025-06-03."
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


def test_a_maildir_full_of_links_fails_one_tick_in_a_text_of_some_lines(tick, tmp_path, landing):
    maildir = tmp_path / "Maildir"
    (maildir / "cur").mkdir(parents=True)
    (maildir / "new").mkdir()
    (maildir / "new" / "1.host").write_bytes(mail("arrived", 3))
    for number in range(300):
        (maildir / "cur" / f"{number}.link").symlink_to("/etc/passwd")

    with pytest.raises(SourceFailedError) as error:
        tick(maildir=maildir)
    later = tick(maildir=maildir)

    assert landing.days() == [day(3)]
    assert str(error.value).count("it is a link, not a file.") == 20
    assert str(error.value).endswith("And 280 files more.")
    assert windows(later) == [("collect_mail", day(3), day(3))]


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
            "io_manager": WarehouseIOManager(DuckDBFile(settings.warehouse_path)),
        },
    ).map_resolved_asset_specs(func=with_conventions)


@pytest.fixture
def whole_desk(product: dg.Definitions, settings: Settings) -> dg.Definitions:
    """The product's assets as far as the collection, over the test's own data folder."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    names = {"raw_tickets", "clean_tickets", "ticket_labels", "ticket_embeddings"}
    assets = [
        asset
        for asset in product.assets or ()
        if isinstance(asset, dg.AssetsDefinition)
        and {key.to_user_string() for key in asset.keys} & {*names, "ticket_collection"}
    ]
    return dg.Definitions(
        assets=assets,
        jobs=[dg.define_asset_job("collect_mail", dg.AssetSelection.assets(*assets))],
        resources={
            "desk": Desk(settings),
            "io_manager": WarehouseIOManager(DuckDBFile(settings.warehouse_path)),
        },
    )


@pytest.mark.slow
@pytest.mark.usefixtures("no_delays")
def test_a_run_that_fails_half_way_is_repeated_once_its_cause_is_gone(
    tick, land, settings, instance, whole_desk
):
    job = whole_desk.resolve_job_def("collect_mail")

    def run(result: dg.SensorResult) -> list[bool]:
        """The requested runs, as the daemon launches them."""
        ended = []
        for waiting in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
            window = {name: tag for name, tag in waiting.tags.items() if "partition" in name}
            done = job.execute_in_process(instance=instance, tags=window, raise_on_error=False)
            ended.append(done.success)
            instance.report_run_failed(waiting)
        return ended

    def stored(table: str) -> list[tuple[str, int]]:
        return DuckDBFile(settings.warehouse_path).rows(
            f"select strftime(received_at, '%d'), count(*) from {table} group by all order by 1"  # noqa: S608
        )

    land(3, 4, 6)
    assert run(tick()) == [True, True]
    assert windows(tick()) == []

    settings.collection_dir.rename(settings.data_dir / "aside")
    settings.collection_dir.write_text("no folder")
    land(4, name="late")
    assert run(tick()) == [False]
    assert stored("ticket_embeddings") == [("03", 1), ("04", 2), ("06", 1)]

    settings.collection_dir.unlink()
    (settings.data_dir / "aside").rename(settings.collection_dir)
    again = tick()
    assert windows(again) == [("collect_mail", day(4), day(4))]
    assert run(again) == [True]
    assert windows(tick()) == []

    shutil.rmtree(settings.collection_dir)
    lost = tick()
    (filling,) = lost.run_requests
    assert windows(lost) == [("collect_mail", day(6), day(6))]
    assert filling.asset_selection == [dg.AssetKey("ticket_collection")]
    assert run(lost) == [True]
    assert windows(tick()) == []
    assert Desk(settings).lost_tickets() == 0


@pytest.mark.slow
def test_the_origin_of_the_rows_is_true_when_two_runs_of_a_day_interleave(
    land, landing, settings, instance, desk
):
    """The second reads new mail, and the first then cleans what the second has read."""

    job = desk.resolve_job_def("collect_mail")

    def materialise(*assets: dg.AssetsDefinition) -> None:
        job.execute_in_process(
            instance=instance,
            partition_key=day(3).isoformat(),
            asset_selection=[key for asset in assets for key in asset.keys],
        )

    def origin(table: str) -> str:
        return read_origins(DuckDBFile(settings.warehouse_path), table)[day(3)].landed

    land(3)
    before = day_fingerprint(landing, day(3))
    materialise(raw_tickets, clean_tickets)
    land(3, name="late")
    materialise(raw_tickets)
    assert (origin("clean_tickets"), origin("raw_tickets")) == (
        before,
        day_fingerprint(landing, day(3)),
    )
    materialise(clean_tickets)
    assert origin("clean_tickets") == day_fingerprint(landing, day(3))


@pytest.mark.slow
def test_mail_that_lands_after_its_day_was_read_does_not_fail_the_run(land, instance, desk):
    """A busy desk receives mail at any moment, also between raw_tickets and its checks."""
    tags = {"dagster/partition": day(3).isoformat()}
    land(3)
    desk.resolve_job_def("collect_mail").execute_in_process(instance=instance, tags=tags)

    land(3, name="late")

    checked = desk.resolve_job_def("check").execute_in_process(instance=instance, tags=tags)
    assert checked.success
    assert [verdict.passed for verdict in checked.get_asset_check_evaluations()] == [True]


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
def test_a_sensor_that_is_killed_anywhere_loses_and_doubles_nothing(
    tmp_path, mailbox, account, settings
):
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
    settings = settings.model_copy(update={"data_dir": tmp_path / "data"})
    landing = Desk(settings).landing
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
        return [
            landing.read(message) for day in landing.days() for message in landing.messages(day)
        ]

    def present() -> dict[date, str]:
        return {day: day_fingerprint(landing, day) for day in landing.days()}

    def finish_runs(instance: dg.DagsterInstance) -> None:
        """What a launched run does, as far as it matters here: it reads its days and ends."""
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
            window = run_window(run.tags)
            assert window is not None
            days = DayRange(*window).days()
            read.update({day: day_fingerprint(landing, day) for day in days})
            collect(settings, *days)
            instance.report_run_canceled(run)

    try:
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            deliver(20)
            started = time.monotonic()
            assert ticks.run()
            length = time.monotonic() - started
            kills = 0
            # A slow machine lets fewer looks come to their end between the kills.
            while kills < 30 or len(instance.get_runs(limit=11)) < 11:
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
