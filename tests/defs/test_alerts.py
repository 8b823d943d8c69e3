"""alerts: one message per edge, from what really happens on an instance."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.scheduler.instigation import (
    TickStatus,
)

from tests.alerts.receivers import WebhookServer
from tests.slow_cases import slow
from ticket_assets.alerts.memory import FILE
from ticket_assets.defs.alerts import alerts
from ticket_assets.desk import Desk
from ticket_assets.mail.back_off import BackOff, write_back_off
from ticket_assets.mail.landed_days import DayRange
from ticket_assets.mail.seen_files import FileVersion, SeenFiles
from ticket_assets.planning.days_to_run import Failure
from ticket_assets.planning.failed_days import write_failed_days
from ticket_assets.settings import Settings

DAY = "2025-06-02"
FAILURE = TickStatus.FAILURE
DAILY = dg.DailyPartitionsDefinition("2025-06-01")
RULES = {"raw": True, "check": True, "severity": dg.AssetCheckSeverity.ERROR}
"""What succeeds at present."""


@dg.asset(partitions_def=DAILY)
def raw_tickets() -> None: ...


@dg.asset(partitions_def=DAILY, deps=[raw_tickets])
def clean_tickets() -> None:
    if not RULES["raw"]:
        raise ValueError("the text of a ticket, by Marie Dupont")


@dg.asset_check(asset=clean_tickets, partitions_def=DAILY)
def no_text_is_empty() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=bool(RULES["check"]), severity=RULES["severity"])


@dg.op
def purge() -> None:
    if not RULES["raw"]:
        raise ValueError("no")


@dg.job
def purge_mail() -> None:
    purge()


@dg.sensor()
def new_mail() -> None: ...


GRAPH = dg.Definitions(
    assets=[raw_tickets, clean_tickets],
    asset_checks=[no_text_is_empty],
    jobs=[purge_mail],
    sensors=[new_mail],
)


@pytest.fixture(autouse=True)
def _rules() -> Iterator[None]:
    former = dict(RULES)
    yield
    RULES.update(former)


@pytest.fixture(params=["memory"])
def instance(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]],
    new_dagster_folder: Path,
) -> Iterator[dg.DagsterInstance]:
    """In memory; or the desk's own, or as the processes of Dagster have it."""
    if request.param == "desk":
        with new_instance(tmp_path / "data") as instance:
            yield instance
    elif request.param == "dagster":
        shutil.copytree(new_dagster_folder, tmp_path, dirs_exist_ok=True)
        (tmp_path / "dagster.yaml").unlink()
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            yield instance
    else:
        yield request.getfixturevalue("instance_in_memory")


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    server = WebhookServer()
    yield server
    server.stop()


@pytest.fixture
def desk(settings: Settings, webhook: WebhookServer) -> Desk:
    from pydantic import SecretStr

    changes = {"alert_webhook": SecretStr(webhook.url), "drop_folder": settings.data_dir / "drop"}
    return Desk(settings.model_copy(update=changes))


@pytest.fixture
def look(
    instance: dg.DagsterInstance, desk: Desk, webhook: WebhookServer
) -> Callable[[], list[str]]:
    """Three looks of the sensor; what the webhook got of them."""

    def run() -> list[str]:
        known = len(webhook.texts)
        for _ in range(3):
            context = dg.build_sensor_context(
                instance=instance, definitions=GRAPH, resources={"desk": desk}
            )
            assert isinstance(alerts(context), dg.SkipReason)
        return webhook.texts[known:]

    return run


def make(instance: dg.DagsterInstance, day: str = DAY) -> str:
    """Makes the assets of a day in a real run, which may fail."""
    job = GRAPH.resolve_implicit_global_asset_job_def()
    made = job.execute_in_process(instance=instance, partition_key=day, raise_on_error=False)
    return made.run_id


@pytest.mark.slow
def test_a_run_that_fails_and_succeeds_again(instance: dg.DagsterInstance, look: Callable):
    assert look() == []
    RULES["raw"] = False
    run_id = make(instance)

    assert look() == [
        f"A run failed: {DAY} (not made: clean_tickets). The page of a run says why; new mail that"
        f" failed is tried again by itself: http://127.0.0.1:3000/runs/{run_id}"
    ]
    make(instance)
    assert look() == [], "the retry failed as well, which is no news"

    RULES["raw"] = True
    make(instance, "2025-06-03")
    assert look() == []
    make(instance)
    assert look() == [f"What a run had failed to make is there: {DAY}."]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("severity", "failed", "well"),
    [
        (dg.AssetCheckSeverity.ERROR, "A check failed", "A check passes again"),
        (dg.AssetCheckSeverity.WARN, "A check warns", "A check warns no longer"),
    ],
)
def test_a_check_that_fails_and_passes_again(
    instance: dg.DagsterInstance,
    look: Callable,
    severity: dg.AssetCheckSeverity,
    failed: str,
    well: str,
):
    RULES.update(check=False, severity=severity)
    make(instance)

    (message,) = look()
    check = f"clean_tickets:no_text_is_empty, {DAY}"
    assert message.startswith(f"{failed}: {check}. ")
    assert message.endswith(": http://127.0.0.1:3000/assets/clean_tickets?view=checks")

    RULES["check"] = True
    make(instance, "2025-06-03")
    assert look() == []
    make(instance)
    assert look() == [f"{well}: {check}."]


@pytest.mark.slow
@pytest.mark.parametrize("instance", ["memory", *slow("desk", "dagster")], indirect=True)
def test_a_job_without_assets(instance: dg.DagsterInstance, look: Callable):
    RULES["raw"] = False
    purge_mail.execute_in_process(instance=instance, raise_on_error=False)
    (message,) = look()
    assert message.startswith("A run failed: purge_mail. ")

    RULES["raw"] = True
    purge_mail.execute_in_process(instance=instance)
    assert look() == ["What a run had failed to make is there: purge_mail."]


@pytest.mark.slow
def test_the_first_look_at_an_old_desk_is_one_summary_without_words_of_tickets(
    instance: dg.DagsterInstance, look: Callable
):
    RULES["raw"] = False
    for day in range(1, 8):
        make(instance, f"2025-06-{day:02}")
    RULES.update(raw=True, check=False)
    make(instance, "2025-06-08")

    (message,) = look()

    runs, check = message.split("\n")
    assert runs.startswith("7 runs failed: 2025-06-01 (not made: clean_tickets); ")
    assert runs.endswith("; and 2 more. The page of a run says why; new mail that failed is tried"
                         " again by itself: http://127.0.0.1:3000/runs")  # fmt: skip
    assert check.startswith("A check failed: clean_tickets:no_text_is_empty, 2025-06-08. ")
    assert "Dupont" not in message


def test_what_is_older_than_the_first_look_is_never_read(
    instance: dg.DagsterInstance, look: Callable, monkeypatch: pytest.MonkeyPatch
):
    RULES.update(check=False)
    make(instance)
    monkeypatch.setattr("ticket_assets.defs.alerts.FIRST_LOOK", timedelta(0))

    assert look() == []

    make(instance, "2025-06-03")
    (message,) = look()
    assert message.startswith("A check failed: clean_tickets:no_text_is_empty, 2025-06-03. ")


def test_mail_that_is_set_in_part_leaves_the_log(
    instance: dg.DagsterInstance, desk: Desk, caplog: pytest.LogCaptureFixture
):
    RULES.update(check=False)
    make(instance)
    settings = desk.settings.model_copy(update={"smtp_host": "smtp.example.org"})
    context = dg.build_sensor_context(
        instance=instance, definitions=GRAPH, resources={"desk": Desk(settings)}
    )

    skipped = alerts(context)

    assert isinstance(skipped, dg.SkipReason)
    assert "TICKETS_ALERT_MAIL_TO" in str(skipped.skip_message)
    assert any(message.startswith("A check failed") for message in caplog.messages)


def test_a_deleted_run_is_no_problem(instance: dg.DagsterInstance, look: Callable):
    RULES["raw"] = False
    run_id = make(instance)
    look()

    instance.delete_run(run_id)

    assert look() == [f"What a run had failed to make is there: {DAY}."]


def test_a_crashed_run_that_dagster_tries_again_is_not_told(
    instance: dg.DagsterInstance, look: Callable
):
    run = instance.create_run_for_job(purge_mail, tags={"dagster/will_retry": "true"})
    instance.report_run_failed(run, "the machine was restarted")

    assert look() == []


def test_an_asset_that_stays_late(instance: dg.DagsterInstance, look: Callable):
    def change(former: FreshnessState, present: FreshnessState, ago: timedelta) -> None:
        instance._report_runless_asset_event(
            FreshnessStateChange(
                key=clean_tickets.key,
                previous_state=former,
                new_state=present,
                state_change_timestamp=(datetime.now(UTC) - ago).timestamp(),
            )
        )

    change(FreshnessState.PASS, FreshnessState.FAIL, timedelta(minutes=10))
    assert look() == [], "automation is about to make it anew"

    change(FreshnessState.PASS, FreshnessState.FAIL, timedelta(minutes=20))
    assert look() == [
        "An asset is late: clean_tickets. See whether its runs fail, or whether automation is"
        " stopped: http://127.0.0.1:3000/assets/clean_tickets"
    ]
    change(FreshnessState.FAIL, FreshnessState.PASS, timedelta(0))
    assert look() == ["An asset is up to date again: clean_tickets."]


FAILS = (
    "A sensor or schedule fails: new_mail. Its latest ticks say why:"
    " http://127.0.0.1:3000/automation"
)
WORKS = "A sensor or schedule works again: new_mail."


@pytest.mark.parametrize("by_automation", [False, True])
def test_a_sensor_that_fails_and_works_again(look: Callable, tick: Callable, by_automation: bool):
    tick(TickStatus.SUCCESS, by_automation=by_automation)
    assert look() == []
    tick(FAILURE)
    tick(TickStatus.STARTED)
    assert look() == [FAILS]
    tick(FAILURE)
    assert look() == []
    tick(TickStatus.SKIPPED, by_automation=by_automation)
    assert look() == [WORKS]


def test_a_sensor_that_is_in_the_code_no_more(look: Callable, tick: Callable):
    tick(FAILURE, sensor="former_sensor")

    assert look() == []


def test_a_source_that_is_left_alone_until_its_next_try_is_not_well(
    desk: Desk, look: Callable, tick: Callable
):
    cursors, (source,) = desk.cursors, desk.sources
    failed = BackOff().failed(datetime.now(UTC), "outage", "no answer", b"")
    write_back_off(cursors, source.name, failed)
    tick(FAILURE)
    assert look() == [FAILS]

    tick(TickStatus.SKIPPED)
    assert look() == []

    write_back_off(cursors, source.name, failed.succeeded(datetime.now(UTC)))
    assert look() == [WORKS]


@pytest.mark.slow
def test_a_refused_file(desk: Desk, look: Callable, tick: Callable):
    folder = desk.settings.drop_folder
    assert folder is not None
    folder.mkdir(parents=True)
    file = folder / "Dupont.csv"
    file.write_text("?")
    with SeenFiles(desk.cursors, folder) as seen:
        seen.refuse(FileVersion(file.name, 1, 1), "Dupont.csv has no column for the text", None)
    tick(FAILURE, error="ticket_assets.defs.new_mail.SourceFailedError: Dupont.csv has no column")

    assert look() == ["A file cannot be read. `tickets status` names such files and says why"]

    tick(FAILURE, error="KeyError")
    assert look() == [FAILS]
    tick(TickStatus.SUCCESS)
    assert look() == [WORKS]

    file.unlink()
    assert look() == ["A file that could not be read was mended or removed."]


def test_a_day_that_is_given_up(desk: Desk, look: Callable):
    cursors, day = desk.cursors, date(2025, 6, 2)

    def fail(tries: int) -> None:
        failure = Failure("a", tries, datetime.now(UTC), DayRange(day, day))
        write_failed_days(cursors, {day: "a"}, {day: failure})

    fail(2)
    assert look() == []
    fail(5)
    assert look() == [
        "The mail of a day could not be sorted and is not tried again: 2025-06-02."
        " `tickets run --day DAY` tries it now"
    ]
    write_failed_days(cursors, {}, {})
    assert look() == ["The mail of a day that had failed is sorted or changed: 2025-06-02."]


def test_a_webhook_that_fails_leaves_the_tick_green_and_gets_the_message_later(
    instance: dg.DagsterInstance,
    look: Callable,
    webhook: WebhookServer,
    caplog: pytest.LogCaptureFixture,
):
    webhook.status = 500
    RULES["raw"] = False
    make(instance)
    assert look() == []
    assert sum("500" in message for message in caplog.messages) == 3
    assert sum(message.startswith("A run failed") for message in caplog.messages) == 1

    webhook.status = 200
    (message,) = look()
    assert message.startswith(f"A run failed: {DAY}")


@pytest.mark.parametrize("instance", ["memory", *slow("desk", "dagster")], indirect=True)
def test_events_are_read_once(
    instance: dg.DagsterInstance, desk: Desk, look: Callable, monkeypatch: pytest.MonkeyPatch
):
    RULES.update(check=False)
    make(instance)
    assert len(look()) == 1
    memory = desk.cursors.read(FILE)
    _, version = desk.cursors.read_version(FILE)
    read = []
    storage = type(instance.event_log_storage)
    fetch = storage._get_event_records

    def counting(*arguments: object, **named: object) -> object:
        records = fetch(*arguments, **named)
        read.extend(records)
        return records

    monkeypatch.setattr(storage, "_get_event_records", counting)
    look()

    # But for the last of each type: another event may have got its id.
    last = {tuple(seen) for seen in json.loads(memory)["seen"].values()}
    assert {(event.storage_id, event.timestamp) for event in read} <= last
    assert desk.cursors.read(FILE) == memory
    assert desk.cursors.read_version(FILE)[1] == version


def test_the_product_has_the_sensor_and_it_runs_by_itself(product: dg.Definitions):
    sensor = product.get_repository_def().get_sensor_def("alerts")

    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30


def test_events_are_read_after_the_latest_runs_were_deleted(
    instance: dg.DagsterInstance, look: Callable
):
    """SQLite gives the ids of their events again."""
    look()
    run_id = make(instance)
    assert look() == []
    instance.delete_run(run_id)
    RULES.update(check=False)

    make(instance)

    assert len(look()) == 1
