"""Old runs go, and nothing that Dagster or the sensors look at changes."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sql
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.loader import LoadingContextForTest
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.partition_status_cache import get_partition_subsets
from dagster._core.storage.runs import SqliteRunStorage

from tests.slow_cases import slow
from ticket_assets.orchestration import pruning
from ticket_assets.orchestration.code_location import job_origin
from ticket_assets.orchestration.pruning import prune_runs

DAYS = dg.DailyPartitionsDefinition("2025-06-01", end_date="2025-06-05")
KEYS = DAYS.get_partition_keys()


@dg.asset(partitions_def=DAYS)
def mail() -> None: ...


@dg.asset(
    partitions_def=DAYS,
    deps=[mail],
    automation_condition=dg.AutomationCondition.missing()
    | dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()),
)
def tickets() -> None: ...


@dg.asset(automation_condition=dg.AutomationCondition.missing())
def model() -> None: ...


CHECK = dg.AssetCheckKey(tickets.key, "is_sound")
DEFINITIONS = dg.Definitions([mail, tickets, model])
JOB = dg.GraphDefinition(name="any").to_job()
OpenInstance = Callable[[Path], AbstractContextManager[dg.DagsterInstance]]


@pytest.fixture(params=["memory", *slow("postgres")])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """All events in one database."""
    if request.param == "memory":
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    with request.getfixturevalue("dagster_in_postgres")(tmp_path) as instance:
        yield instance


@pytest.fixture
def desk(tmp_path: Path, new_instance: OpenInstance) -> Iterator[dg.DagsterInstance]:
    """A file for each run's events."""
    with new_instance(tmp_path) as instance:
        yield instance


def run(
    instance: dg.DagsterInstance,
    *assets: dg.AssetsDefinition,
    day: str | None = None,
    fails: bool = False,
    tags: dict[str, str] | None = None,
) -> str:
    """The id of a run that has ended, with its events and a file of what it printed."""
    status = dg.DagsterRunStatus.FAILURE if fails else dg.DagsterRunStatus.SUCCESS
    run_id = instance.create_run_for_job(JOB, status=status, tags=tags).run_id

    def report(kind: DagsterEventType, data: object) -> None:
        event = dg.DagsterEvent(kind.value, JOB.name, event_specific_data=data)
        instance.report_dagster_event(event, run_id)

    for asset in assets:
        report(
            DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            AssetMaterializationPlannedData(asset.key, partition=day),
        )
        if fails:
            continue
        version = {DATA_VERSION_TAG: "same"}
        made = dg.AssetMaterialization(asset.key, partition=day, tags=version)
        report(DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(made))
        if asset is tickets:
            report(
                DagsterEventType.ASSET_CHECK_EVALUATION,
                dg.AssetCheckEvaluation(
                    tickets.key, CHECK.name, passed=True, metadata={}, partition=day
                ),
            )
    printed = Path(instance.storage_directory()) / run_id / "compute_logs" / "step.out"
    printed.parent.mkdir(parents=True)
    printed.write_text("a line\n")
    return run_id


def now() -> datetime:
    return datetime.now(UTC) + timedelta(microseconds=1)


class View:
    """What conditions and the UI see of the assets."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor = self.tick()[1]

    def tick(self, cursor: object = None) -> tuple[dict[str, set], object]:
        result = dg.evaluate_automation_conditions(DEFINITIONS, self.instance, cursor=cursor)
        keys = [asset.key for asset in (tickets, model)]
        return {str(key): result.get_requested_partitions(key) for key in keys}, result.cursor

    def status(self, asset: dg.AssetsDefinition) -> list[set[str]]:
        """The days that are made, that failed and that are in progress."""
        subsets = get_partition_subsets(
            self.instance, LoadingContextForTest(self.instance), asset.key, self.instance, DAYS
        )
        return [set(subset.get_partition_keys()) for subset in asyncio.run(subsets)]

    def state(self) -> dict[str, object]:
        requests, self.cursor = self.tick(self.cursor)
        log = self.instance.event_log_storage
        checks = [CHECK]
        return {
            "requests": requests,
            "statuses": {asset.key: self.status(asset) for asset in (mail, tickets)},
            "latest": {
                asset.key: log.get_latest_storage_id_by_partition(
                    asset.key, dg.DagsterEventType.ASSET_MATERIALIZATION
                )
                for asset in (mail, tickets)
            },
            "model": self.instance.get_latest_materialization_event(model.key),
            "verdicts": log.get_asset_check_partition_info(checks),
            "last verdict": log.get_latest_asset_check_execution_by_key(checks),
            "last runs": {
                record.asset_entry.asset_key: record.asset_entry.last_run_id
                for record in self.instance.get_asset_records([mail.key, tickets.key, model.key])
            },
        }


def files_of(tmp_path: Path, run_id: str) -> list[Path]:
    return list((tmp_path / "dagster").rglob(f"*{run_id}*"))


@pytest.mark.slow
def test_of_forty_runs_those_with_the_latest_state_stay_and_nothing_is_requested_anew(
    instance: dg.DagsterInstance,
):
    run(instance, model)
    runs = [run(instance, mail, tickets, day=KEYS[number % 4]) for number in range(36)]
    failed = [run(instance, tickets, day=KEYS[2], fails=True) for _ in range(2)]
    last_model = run(instance, model)
    view = View(instance)
    before = view.state()
    assert before["statuses"][tickets.key][1] == {KEYS[2]}, "the day that failed"

    planned = prune_runs(instance, now(), dry_run=True)
    assert len(instance.get_run_ids()) == 40
    pruned = prune_runs(instance, now())

    assert planned == pruned
    assert (pruned.runs, pruned.kept, pruned.waiting) == (34, 6, 0)
    assert set(instance.get_run_ids()) == {*runs[-4:], failed[-1], last_model}
    assert view.state() == before
    assert View(instance).state() == before, "also for who looks for the first time"
    assert instance.all_logs(runs[-1])
    with instance.event_log_storage.index_connection() as connection:
        rows = connection.execute(sql.select(AssetCheckExecutionsTable.c.run_id)).fetchall()
    assert {run_id for (run_id,) in rows} == set(runs[-4:])
    assert prune_runs(instance, now()).runs == 0


def test_the_files_of_removed_runs_are_gone_and_those_of_the_others_are_there(
    desk: dg.DagsterInstance, tmp_path: Path
):
    old, latest = run(desk, model), run(desk, model)
    of_old = [path for path in files_of(tmp_path, old) if path.name == f"{old}.db"]

    assert prune_runs(desk, now(), dry_run=True).size > of_old[0].stat().st_size > 0
    assert prune_runs(desk, now()).runs == 1
    assert files_of(tmp_path, old) == []
    assert {path.name for path in files_of(tmp_path, latest)} >= {latest, f"{latest}.db"}
    assert desk.all_logs(latest)


def test_younger_runs_stay(instance: dg.DagsterInstance):
    for _ in range(3):
        run(instance, model)

    assert prune_runs(instance, now() - timedelta(days=1)).runs == 0
    assert len(instance.get_run_ids()) == 3


def test_runs_at_work_stay(instance: dg.DagsterInstance):
    at_work = instance.create_run_for_job(JOB, status=dg.DagsterRunStatus.STARTED)
    instance.create_run_for_job(JOB, status=dg.DagsterRunStatus.SUCCESS)

    assert prune_runs(instance, now()).runs == 1
    assert instance.get_run_ids() == [at_work.run_id]


def test_a_day_made_anew_from_the_same_is_seen_as_the_same(instance: dg.DagsterInstance):
    """The next look compares it with what was there at the last one, before it was old."""
    for day in KEYS:
        run(instance, tickets, day=day)
    for day in (KEYS[0], *KEYS):
        run(instance, mail, day=day)
    run(instance, model)
    view = View(instance)
    long_ago = now()
    run(instance, mail, day=KEYS[0])

    pruned = prune_runs(instance, long_ago)

    assert view.state()["requests"] == {str(tickets.key): set(), str(model.key): set()}
    assert pruned.runs == 1


def test_the_next_call_completes_one_that_was_killed(
    desk: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, latest = run(desk, mail, day=KEYS[0]), run(desk, mail, day=KEYS[0])

    def die(*_: object, **__: object) -> None:
        raise SystemExit

    for place, step in (
        (shutil, "rmtree"),
        (pruning, "remove_shard"),
        (SqliteRunStorage, "delete_run"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, step, die)
            with pytest.raises(SystemExit):
                prune_runs(desk, now())

    assert prune_runs(desk, now()).runs == 1
    assert desk.get_run_ids() == [latest]
    assert files_of(tmp_path, old) == []


def test_what_deleting_a_run_in_the_ui_leaves_goes_as_well(
    desk: dg.DagsterInstance, tmp_path: Path
):
    deleted = run(desk, model)
    desk.delete_run(deleted)
    assert files_of(tmp_path, deleted), "Dagster leaves the file of its events"

    assert prune_runs(desk, now() - timedelta(days=30)).runs == 0, "it is the latest of model"
    run(desk, model)
    assert prune_runs(desk, now() - timedelta(days=30)).runs == 1
    assert files_of(tmp_path, deleted) == []


@pytest.mark.slow
def test_no_number_of_an_event_is_given_twice(desk: dg.DagsterInstance):
    """A cursor that has passed the number would not see the event."""
    run(desk, model)
    last = desk.create_run_for_job(JOB, status=dg.DagsterRunStatus.STARTED)
    desk.report_run_failed(last)
    (failure,) = desk.fetch_run_status_changes(DagsterEventType.RUN_FAILURE, limit=1).records

    prune_runs(desk, now())
    run(desk, model)

    made = desk.fetch_materializations(model.key, limit=1).records[0]
    assert made.storage_id > failure.storage_id + 1


def test_one_call_removes_so_many_and_says_how_many_wait(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pruning, "RUNS_PER_CALL", 2)
    runs = [run(instance, model) for _ in range(4)]

    pruned = prune_runs(instance, now())

    assert (pruned.runs, pruned.kept, pruned.waiting) == (2, 1, 1)
    assert instance.get_run_ids() == [runs[3], runs[2]]
    assert prune_runs(instance, now()).runs == 1


@pytest.mark.slow
def test_a_run_stays_as_long_as_a_sensor_remembers_its_key(desk: dg.DagsterInstance):
    """new_mail would try the failed day again."""
    key = "classify_mail 2025-06-01..2025-06-01 1a2b"
    remembered = run(desk, model, tags={"dagster/run_key": key})
    run(desk, model, tags={"dagster/run_key": "another"})
    last = run(desk, model)
    sensor_remembers(desk, f'{{"tries": {{"2025-06-01": ["1a2b", 4, "{key}"]}}}}')

    assert prune_runs(desk, now()).runs == 1
    assert desk.get_run_ids() == [last, remembered]

    sensor_remembers(desk, '{"tries": {}}')
    assert prune_runs(desk, now()).runs == 1


def sensor_remembers(desk: dg.DagsterInstance, cursor: str) -> None:
    state = InstigatorState(
        RemoteInstigatorOrigin(job_origin("any").repository_origin, "new_mail"),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING,
        SensorInstigatorData(cursor=cursor),
    )
    known = desk.all_instigator_state()
    (desk.update_instigator_state if known else desk.add_instigator_state)(state)


def test_the_first_of_a_group_of_repetitions_stays_with_them(instance: dg.DagsterInstance):
    """The page of a repetition fails in the UI when the first run is gone."""
    first = run(instance, model)
    repeated = run(
        instance, model, tags={"dagster/root_run_id": first, "dagster/parent_run_id": first}
    )

    assert prune_runs(instance, now()).runs == 0

    run(instance, model)
    assert prune_runs(instance, now()).runs == 2
    assert not {first, repeated} & set(instance.get_run_ids())


def test_reports_without_a_run_go_but_for_the_latest(instance: dg.DagsterInstance):
    for number in range(3):
        for key in KEYS:
            tags = {DATA_VERSION_TAG: str(number)}
            instance.report_runless_asset_event(
                dg.AssetObservation("landed", partition=key, tags=tags)
            )

    pruned = prune_runs(instance, now())

    assert pruned.events == 2 * len(KEYS)
    left = instance.fetch_observations(dg.AssetKey("landed"), limit=20).records
    versions = {(record.partition_key, record.asset_observation.data_version) for record in left}
    assert versions == {(key, "2") for key in KEYS}
    assert prune_runs(instance, now()).events == 0
