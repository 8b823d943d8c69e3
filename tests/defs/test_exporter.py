"""What the exporter reads of a Dagster instance: counted once, over restarts and pruning."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.utils import make_new_run_id
from dagster._daemon.types import DaemonHeartbeat
from prometheus_client.core import Metric

from tests.days import days_ago, today
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.desk import Desk
from ticket_assets.drift.report import DriftReport
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.metrics.counters import Counters
from ticket_assets.metrics.model import ModelFigures
from ticket_assets.metrics.server import Exposition
from ticket_assets.orchestration.code_location import job_origin
from ticket_assets.orchestration.exporter import exposition_of
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.orchestration.observation import automation, checks, runs
from ticket_assets.orchestration.observation.assets import AssetFigures, encoding_families
from ticket_assets.planning.learning_record import write_new_labels
from ticket_assets.settings import Settings

DAILY = dg.DailyPartitionsDefinition("2026-01-01", end_offset=1)
RULES = {"check": True, "asset": True}
"""What succeeds at present."""


@dg.asset(partitions_def=DAILY, metadata={"dagster/row_count": 3})
def ticket_embeddings(context: dg.AssetExecutionContext) -> None:
    if not RULES["asset"]:
        raise ValueError("no")
    for day in context.partition_keys:
        context.add_asset_metadata({"dagster/partition_row_count": 4}, partition_key=day)
    context.add_asset_metadata({"run_texts_encoded": 5, "run_encoding_seconds": 0.5})


@dg.asset_check(asset=ticket_embeddings, partitions_def=DAILY)
def vectors_are_unit_length(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=RULES["check"], severity=dg.AssetCheckSeverity.WARN)


@dg.asset(freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1)))
def ticket_classifier() -> None: ...


GRAPH = dg.Definitions(
    assets=[ticket_embeddings, ticket_classifier], asset_checks=[vectors_are_unit_length]
)
CHECKS = [vectors_are_unit_length.check_key]


@pytest.fixture(autouse=True)
def _rules() -> Iterator[None]:
    yield
    RULES.update(check=True, asset=True)


@pytest.fixture
def instance(instance_in_memory: dg.DagsterInstance) -> dg.DagsterInstance:
    return instance_in_memory


def make(instance: dg.DagsterInstance, day: str | None = None) -> str:
    """Materialises the day, by default yesterday, in a run; its id."""
    job = GRAPH.resolve_implicit_job_def_def_for_assets([ticket_embeddings.key])
    assert job is not None
    return job.execute_in_process(
        instance=instance, partition_key=day or days_ago(1).isoformat(), raise_on_error=False
    ).run_id


def samples(families: Iterator[Metric]) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def counted(instance: dg.DagsterInstance, counters: Counters) -> dict[str, float]:
    """The ended runs by their outcome, after a look."""
    runs.count_ended_runs(instance, counters)
    totals: dict[str, float] = {}
    for (name, *labels), value in samples(runs.ended_run_families(counters)).items():
        if name == "dagster_runs_ended_total":
            totals[labels[1]] = totals.get(labels[1], 0) + value
    return totals


def test_a_restart_in_the_middle_of_a_run_counts_nothing_twice_and_loses_nothing(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    cursors = Desk(settings).cursors
    make(instance)
    counters = Counters()
    before = counted(instance, counters)
    counters.write(cursors)
    make(instance)  # counted, and then the exporter is killed before it has written that
    counted(instance, counters)

    counters = Counters.read(cursors)
    RULES["asset"] = False
    make(instance)

    assert before == {"success": 1, "failure": 0, "canceled": 0}
    assert counted(instance, counters) == {"success": 2, "failure": 1, "canceled": 0}
    assert counted(instance, counters) == {"success": 2, "failure": 1, "canceled": 0}


def test_pruned_runs_stay_counted(instance: dg.DagsterInstance) -> None:
    counters = Counters()
    run_id = make(instance)
    counted(instance, counters)

    instance.delete_run(run_id)
    make(instance)

    assert counted(instance, counters)["success"] == 2


def test_a_run_that_is_reported_as_ended_twice_is_one(instance: dg.DagsterInstance) -> None:
    RULES["asset"] = False
    run = instance.get_run_by_id(make(instance))
    assert run is not None
    instance.report_run_failed(run, "its process is gone")

    assert counted(instance, Counters())["failure"] == 1


def test_durations_and_delays_are_those_of_the_run(instance: dg.DagsterInstance) -> None:
    (record,) = instance.get_run_records(dg.RunsFilter([make(instance)]))
    counters = Counters()
    runs.count_ended_runs(instance, counters)

    figures = samples(runs.ended_run_families(counters))

    job = record.dagster_run.job_name
    assert record.start_time
    assert record.end_time
    assert figures["dagster_run_duration_seconds_sum", job] == pytest.approx(
        record.end_time - record.start_time
    )
    assert figures["dagster_run_start_delay_seconds_count", job] == 1


def test_a_queued_run_waits(instance: dg.DagsterInstance) -> None:
    def figures() -> dict[tuple[str, ...], float]:
        return samples(runs.present_run_families(instance))

    assert figures()["dagster_oldest_queued_run_age_seconds",] == 0
    run = dg.DagsterRun(
        job_name="sort",
        run_id=make_new_run_id(),
        status=DagsterRunStatus.QUEUED,
        remote_job_origin=job_origin("sort"),
    )
    instance.add_run(run)

    assert figures()["dagster_runs", "queued"] == 1
    assert 0 < figures()["dagster_oldest_queued_run_age_seconds",] < 60
    assert figures()["dagster_oldest_started_run_age_seconds",] == 0
    instance.handle_new_event(started_event(run, datetime.now(UTC) - timedelta(hours=2)))
    assert figures()["dagster_oldest_started_run_age_seconds",] == pytest.approx(7200, abs=60)


def started_event(run: dg.DagsterRun, moment: datetime) -> EventLogEntry:
    event = DagsterEvent(DagsterEventType.RUN_START.value, run.job_name)
    return EventLogEntry(
        error_info=None,
        level="INFO",
        user_message="",
        run_id=run.run_id,
        timestamp=moment.timestamp(),
        job_name=run.job_name,
        dagster_event=event,
    )


def test_a_slot_that_a_run_holds_after_its_end(instance: dg.DagsterInstance) -> None:
    run_id = make(instance)
    instance.event_log_storage.set_concurrency_slots("warehouse", 1)
    instance.event_log_storage.claim_concurrency_slot("warehouse", run_id, "raw_tickets")

    figures = samples(runs.pool_families(instance))

    assert figures["dagster_pool_slots", "warehouse"] == 1
    assert figures["dagster_pool_slots_held", "warehouse"] == 1
    assert figures["dagster_pool_slots_held_by_ended_runs", "warehouse"] == 1
    assert figures["dagster_pool_slot_info", "warehouse", run_id, "raw_tickets"] == 1


@pytest.mark.slow
def test_the_texts_of_a_run_over_many_days_count_once(instance: dg.DagsterInstance) -> None:
    job = GRAPH.resolve_implicit_job_def_def_for_assets([ticket_embeddings.key])
    assert job is not None
    days = {
        "dagster/asset_partition_range_start": days_ago(40).isoformat(),
        "dagster/asset_partition_range_end": days_ago(1).isoformat(),
    }
    job.execute_in_process(instance=instance, tags=days)
    counters = Counters()

    for _ in range(2):
        asset_figures(instance, counters)

    encoded = samples(encoding_families(counters))
    assert encoded == {
        ("tickets_texts_encoded_total",): 5,
        ("tickets_encoding_seconds_total",): 0.5,
    }


def asset_figures(
    instance: dg.DagsterInstance, counters: Counters, landed: Sequence[date] = ()
) -> dict[tuple[str, ...], float]:
    graph = GRAPH.resolve_asset_graph()
    figures = AssetFigures(Desk(Settings()), graph, counters)
    figures.read(instance)
    return samples(figures.asset_families(instance)) | samples(
        figures.partition_families(instance, landed)
    )


def test_the_state_of_assets_and_their_days(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    make(instance, days_ago(40).isoformat())
    make(instance)
    RULES["asset"] = False
    make(instance, today().isoformat())

    figures = asset_figures(instance, Counters())

    assert figures["dagster_asset_rows", "ticket_embeddings"] == 8
    assert figures["dagster_asset_partitions", "ticket_embeddings", "materialized"] == 2
    assert figures["dagster_asset_partitions", "ticket_embeddings", "failed"] == 1
    assert figures["dagster_asset_freshness", "ticket_classifier", "unknown"] == 1
    assert figures["dagster_asset_freshness", "ticket_classifier", "fail"] == 0
    dg.materialize([ticket_classifier], instance=instance)
    later = asset_figures(instance, Counters())
    remaining = later["dagster_asset_freshness_remaining_seconds", "ticket_classifier"]
    assert timedelta(hours=23).total_seconds() < remaining <= timedelta(days=1).total_seconds()


@pytest.mark.slow
def test_tickets_that_people_label_later_count_as_labelled(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    @dg.asset(partitions_def=DAILY)
    def ticket_predictions(context: dg.AssetExecutionContext) -> None:
        counts = {"decision": {"auto": 3, "review": 1}, "review_reason": {"unsure": 1}}
        by = {"tickets_by": {**counts, "language": {"fr": 4}}}
        context.add_asset_metadata(by, partition_key=context.partition_key)

    @dg.asset(partitions_def=DAILY)
    def rejected_messages() -> None: ...

    assets = [ticket_predictions, rejected_messages]
    figures = AssetFigures(
        Desk(settings), dg.Definitions(assets=assets).resolve_asset_graph(), Counters()
    )

    def present() -> dict[tuple[str, ...], float]:
        figures.read(instance)
        return samples(figures.ticket_families())

    day = days_ago(1).isoformat()
    dg.materialize(assets, instance=instance, partition_key=day)
    before = present()
    assert before["tickets_predictions", day, "labelled"] == 0
    assert before["tickets_predictions", day, "auto"] == 3
    counts = {"decision": {"auto": 2, "labelled": 2}, "review_reason": {}}
    instance.report_runless_asset_event(
        dg.AssetObservation("ticket_predictions", metadata={"tickets_by": counts}, partition=day)
    )

    later = present()

    decisions = {name[-1]: n for name, n in later.items() if name[0] == "tickets_predictions"}
    assert decisions == {"auto": 2, "review": 0, "labelled": 2}
    assert not [name for name in later if name[0] == "tickets_predictions_by_review_reason"]
    assert later["tickets_predictions_by_language", day, "fr"] == 4
    dg.materialize(assets, instance=instance, partition_key=day)
    assert present() == before


def test_mail_that_lands_while_nothing_runs_is_missing_although_the_log_says_nothing(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    desk = Desk(settings)
    exposition = exposition_of(desk, instance)
    exposition.refresh()
    missing = 'dagster_asset_partitions{asset="raw_tickets",state="missing"}'
    assert f"{missing} 0.0" in exposition.text.decode()

    message = f"Date: {datetime.now(UTC):%a, %d %b %Y} 00:00:00 +0000\r\nSubject: VPN\r\n\r\nHi."
    desk.landing.land([mail_message(message.encode(), "test")])
    exposition.refresh()

    assert f"{missing} 1.0" in exposition.text.decode()


def test_a_drift_report_of_version_0_1_0(settings: Settings) -> None:
    desk, day = Desk(settings), days_ago(1)
    report = {
        "window_days": 2,
        "metrics": [{"metric": "language", "distance": 0.3, "threshold": 0.2, "drifted": True}],
    }
    desk.reports.write(DriftReport(day, pd.DataFrame(), json.dumps(report), None))

    figures = samples(ModelFigures(desk).drift_families(day))

    assert figures["tickets_drift_ratio", "language", "day"] == pytest.approx(1.5)


def check_figures(instance: dg.DagsterInstance, counters: Counters) -> dict[tuple[str, ...], float]:
    checks.read_verdicts(instance, CHECKS, counters)
    return samples(checks.check_families(CHECKS, counters))


def test_a_check_that_warns_on_two_days_and_passes_again_on_one(
    instance: dg.DagsterInstance,
) -> None:
    warns = ("dagster_asset_check_failing", *CHECKS[0].to_user_string().split(":"), "warn")
    counters = Counters()
    assert check_figures(instance, counters)[warns] == 0
    RULES["check"] = False
    make(instance)
    make(instance, today().isoformat())
    assert check_figures(instance, counters)[warns] == 2
    began = counters.checks[CHECKS[0].to_user_string()].since
    RULES["check"] = True
    make(instance)

    figures = check_figures(instance, counters)

    assert figures[warns] == 1
    assert figures[(*warns[:-1], "error")] == 0
    assert counters.checks[CHECKS[0].to_user_string()].since == began, "it still warns"
    # Another exporter that begins now says the same.
    assert check_figures(instance, Counters())[warns] == 1


def test_a_verdict_on_a_day_of_long_ago_counts_no_longer(instance: dg.DagsterInstance) -> None:
    RULES["check"] = False
    make(instance, days_ago(40).isoformat())

    figures = check_figures(instance, Counters())

    assert sum(value for name, value in figures.items() if name[0].endswith("failing")) == 0


def test_ticks_are_counted_from_the_first_look_on(
    instance: dg.DagsterInstance,
    tick: Callable[..., None],
) -> None:
    counters = Counters()

    def figures() -> dict[tuple[str, ...], float]:
        ages = samples(automation.tick_families(instance, {"new_mail"}, counters))
        return ages | samples(automation.counted_tick_families(counters))

    tick(TickStatus.FAILURE)
    first = figures()
    tick(TickStatus.FAILURE)
    tick(TickStatus.SKIPPED)
    figures()

    failures = ("dagster_ticks_total", "new_mail", "sensor", "failure")
    assert first[failures] == 0
    assert figures()[failures] == 1
    assert figures()["dagster_ticks_total", "new_mail", "sensor", "skipped"] == 1
    assert figures()["dagster_tick_age_seconds", "new_mail", "sensor"] < 60


def test_daemons_that_are_needed_no_longer_do_not_count_as_silent(
    new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]], tmp_path: Path
) -> None:
    with new_instance(tmp_path / "data") as instance:
        assert samples(automation.daemon_families(instance)) == {}
        for name, age in (("SENSOR", 10), ("OF_AN_EARLIER_RELEASE", 100_000)):
            moment = datetime.now(UTC).timestamp() - age
            instance.add_daemon_heartbeat(DaemonHeartbeat(moment, name, "its id"))

        figures = samples(automation.daemon_families(instance))

    ((name, age),) = figures.items()
    assert name == ("dagster_daemon_heartbeat_age_seconds", "sensor")
    assert age == pytest.approx(10, abs=5)


def test_a_desk_without_a_ui_is_not_said_to_have_lost_it(closed_port: int) -> None:
    counters = Counters()
    address = f"http://127.0.0.1:{closed_port}"

    assert samples(automation.code_location_families(address, counters)) == {}
    counters.seen[automation.UI] = (0, 0.0)
    assert samples(automation.code_location_families(address, counters)) == {
        ("dagster_webserver_up",): 0
    }


def failed_parts(exposition: Exposition) -> dict[str, str]:
    lines = exposition.text.decode().splitlines()
    name = 'tickets_exporter_read_failed{part="'
    return dict(line.removeprefix(name).split('"} ') for line in lines if line.startswith(name))


def test_every_part_of_a_new_desk_can_be_read(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    exposition = exposition_of(Desk(settings), instance)

    exposition.refresh()

    parts = failed_parts(exposition)
    assert len(parts) == 13
    assert set(parts.values()) == {"0.0"}


def test_a_broken_routing_file_takes_no_figure_away(
    instance: dg.DagsterInstance, settings: Settings, tmp_path: Path
) -> None:
    routing, token = tmp_path / "routing.yaml", tmp_path / "token"
    routing.write_text("categories: [")
    token.write_text("t0ken")
    systems = {
        "routing": routing,
        "glpi_url": "http://127.0.0.1:9/apirest.php",
        "glpi_user_token_file": token,
        "zammad_url": "http://127.0.0.1:9",
        "zammad_token_file": token,
        "imap_host": "127.0.0.1",
        "imap_user": "desk",
        "imap_password_file": token,
    }
    exposition = exposition_of(Desk(settings.model_copy(update=systems)), instance)

    exposition.refresh()

    assert set(failed_parts(exposition).values()) == {"0.0"}
    assert 'tickets_source_failures{source="what people change in glpi"} 0.0' in str(
        exposition.text, "utf-8"
    )


@pytest.mark.slow
def test_every_part_of_an_instance_in_postgres_can_be_read(
    dagster_in_postgres: Callable[..., AbstractContextManager[dg.DagsterInstance]],
    settings: Settings,
) -> None:
    with dagster_in_postgres(settings.data_dir) as instance:
        make(instance)
        exposition = exposition_of(Desk(settings), instance)

        exposition.refresh()

    assert set(failed_parts(exposition).values()) == {"0.0"}
    figures = exposition.text.decode()
    assert 'dagster_runs_ended_total{job_name="__ASSET_JOB",status="success"} 1.0' in figures
    (size,) = re.findall(r"^dagster_event_log_bytes (\S+)", figures, re.MULTILINE)
    assert float(size) > 0


@pytest.mark.slow
def test_every_part_can_be_read_where_the_launcher_of_pods_cannot_be_made(
    new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exporter's pod has no right to ask Kubernetes, and needs none: the slot of a dead pod is
    known from its run."""
    with new_instance(settings.data_dir):
        pass
    with (settings.data_dir / "dagster" / "dagster.yaml").open("a") as configuration:
        configuration.write(
            "run_launcher: {module: dagster._core.test_utils, class: ExplodingRunLauncher}\n"
        )
    with desk_instance(settings.data_dir) as instance:
        run = instance.create_run_for_job(dg.GraphDefinition(name="any").to_job())
        log = instance.event_log_storage
        log.initialize_concurrency_limit_to_default("models")
        log.claim_concurrency_slot("models", run.run_id, "a_step")
        exposition = exposition_of(Desk(settings), instance)

        exposition.refresh()
        alive = exposition.text.decode()
        instance.report_run_failed(run)
        exposition.refresh()
        dead = exposition.text.decode()

    assert set(failed_parts(exposition).values()) == {"0.0"}
    by_ended = 'dagster_pool_slots_held_by_ended_runs{pool="models"}'
    assert (f"{by_ended} 0.0" in alive, f"{by_ended} 1.0" in dead) == (True, True)


def test_verdicts_are_read_after_the_latest_runs_were_deleted(
    instance: dg.DagsterInstance,
) -> None:
    """SQLite gives the ids of their events again."""
    counters = Counters()
    check_figures(instance, counters)
    run_id = make(instance)
    check_figures(instance, counters)

    instance.delete_run(run_id)
    RULES["check"] = False
    make(instance)

    figures = check_figures(instance, counters)
    assert sum(value for name, value in figures.items() if name[0].endswith("failing")) == 1


def test_the_champion_and_the_drift_of_the_latest_day(
    settings: Settings, trained: TrainedClassifier
) -> None:
    desk = Desk(settings)
    figures = ModelFigures(desk)
    assert samples(figures.families()) == {
        ("tickets_target_precision_ratio",): settings.target_precision,
        ("tickets_auto_share_floor_ratio",): settings.auto_share_floor,
        ("tickets_shadow_mode",): 0,
    }
    in_shadow = Desk(settings.model_copy(update={"shadow_mode": True}))
    assert samples(ModelFigures(in_shadow).families())["tickets_shadow_mode",] == 1
    day, noon = days_ago(1), datetime(2026, 1, 2, 12, tzinfo=UTC)
    version = desk.models.promote(desk.models.save(trained, noon).version)
    write_new_labels(desk.cursors, 12)
    row = {"metric": "language", "window_days": 1, "distance": 0.3, "threshold": 0.2}
    week = {**row, "window_days": 7, "distance": 0.1, "estimated_precision": 0.97}
    by_category = {"estimated_precision_by_category": {"network": 0.9}}
    report = {"metrics": [row, week | by_category]}
    desk.reports.write(DriftReport(day, pd.DataFrame(), json.dumps(report), None))

    present = samples(figures.families()) | samples(figures.drift_families(day))

    category = trained.evaluation.targets["category"]
    assert present["tickets_labels_waiting",] == 12
    assert present["tickets_model_info", version.version, version.encoder] == 1
    assert present["tickets_model_trained_timestamp_seconds",] == noon.timestamp()
    assert present["tickets_model_promoted_timestamp_seconds",] > noon.timestamp()
    assert present["tickets_model_macro_f1", "category"] == category.macro_f1
    assert present["tickets_model_macro_f1_low", "category"] == category.macro_f1_low
    for score in category.per_class:
        name = ("category", score.label)
        assert present["tickets_model_label_coverage_ratio", *name] == score.coverage
        precision = present.get(("tickets_model_label_precision_ratio", *name))
        assert precision == score.auto_precision
    assert present["tickets_drift_ratio", "language", "day"] == pytest.approx(1.5)
    assert present["tickets_drift_ratio", "language", "week"] == pytest.approx(0.5)
    assert present["tickets_estimated_precision_ratio",] == 0.97
    assert present["tickets_estimated_label_precision_ratio", "network"] == 0.9
