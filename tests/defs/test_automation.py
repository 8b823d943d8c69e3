"""automation: what is made anew once mail or the champion has changed, or an asset is late."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.events import DagsterEventType, StepMaterializationData

from ticket_assets.defs.audit import AUDITS

DAYS = ["2025-06-02", "2025-06-03"]
NOW = datetime(2025, 6, 3, 12, tzinfo=UTC)
LEARNING = [
    "ticket_labels",
    "candidate_classifier",
    "suspected_label_errors",
    "ticket_classifier",
]
CHAIN = [
    "raw_tickets",
    "rejected_messages",
    "clean_tickets",
    "ticket_embeddings",
    "ticket_collection",
    "ticket_predictions",
    "delivered_tickets",
    "drift_metrics",
    "drift_report",
]
SIMULATION = "threshold_simulation"
SORTING = ["ticket_predictions", "delivered_tickets", "drift_metrics", "drift_report"]
SUSPENSIONS, QUEUE = "suspended_labels", "review_queue"
Requests = Mapping[str, set[str]]


def requested(assets: list[str], *days: str | None) -> Requests:
    return {asset: set(days) for asset in assets}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def copy_instance(former: dg.DagsterInstance, copy: dg.DagsterInstance) -> None:
    """What has happened on an instance in memory, also on another."""
    for storage, target in (
        (former.run_storage, copy.run_storage),
        (former.event_log_storage, copy.event_log_storage),
    ):
        database = storage._held_conn.connection.driver_connection
        database.backup(target._held_conn.connection.driver_connection)


class Desk:
    """The product's graph on an instance, and what happens to it, without running anything."""

    def __init__(self, product: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.product, self.instance = product, instance
        self.graph = product.resolve_asset_graph()
        self.cursor = None
        self.now = NOW

    def tick(self, product: dg.Definitions | None = None) -> Requests:
        """One evaluation by the sensor; what it requests is left undone. Days by asset."""
        self.now += timedelta(seconds=10)
        result = dg.evaluate_automation_conditions(
            product or self.product,
            self.instance,
            cursor=self.cursor,
            evaluation_time=self.now,
        )
        self.cursor = result.cursor
        requests = {
            key.to_user_string(): result.get_requested_partitions(key)
            for key in self.graph.materializable_asset_keys
        }
        checks = {
            verdict.key.name: {None}
            for verdict in result.results
            if isinstance(verdict.key, dg.AssetCheckKey) and not verdict.true_subset.is_empty
        }
        return {name: days for name, days in (requests | checks).items() if days}

    def materialise(self, *assets: str, days: list[str] = DAYS, version: str = "") -> None:
        """Makes these assets in a run that has ended; their blocking checks pass."""
        run = self.ended_run()
        for asset in assets:
            key = dg.AssetKey(asset)
            for day in days if self.graph.get(key).is_partitioned else [None]:
                made = dg.AssetMaterialization(
                    key, partition=day, tags={DATA_VERSION_TAG: version} if version else {}
                )
                self.report(
                    run, DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(made)
                )
                for check in self.graph.get_check_keys_for_assets({key}):
                    self.judge(run, check, day, passed=True)

    def judge(self, run: str, check: dg.AssetCheckKey, day: str | None, *, passed: bool) -> None:
        latest = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(check.asset_key, asset_partitions=[day] if day else None), limit=1
        ).records[0]
        evaluation = dg.AssetCheckEvaluation(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=passed,
            metadata={},
            blocking=True,
            partition=day if self.graph.get(check).partitions_def else None,
            target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                storage_id=latest.storage_id, run_id=latest.run_id, timestamp=latest.timestamp
            ),
        )
        self.report(run, DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)

    def ended_run(self) -> str:
        job = dg.GraphDefinition(name="any").to_job()
        run = self.instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS)
        return run.run_id

    def report(self, run: str, kind: DagsterEventType, data: object) -> None:
        event = dg.DagsterEvent(kind.value, "any", event_specific_data=data)
        self.instance.report_dagster_event(event, run)

    def land(self, day: str, version: str) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetObservation("landed_mail", partition=day, tags={DATA_VERSION_TAG: version})
        )

    def freshness(self, asset: str, former: FreshnessState, state: FreshnessState) -> None:
        self.instance._report_runless_asset_event(
            FreshnessStateChange(
                key=dg.AssetKey(asset),
                previous_state=former,
                new_state=state,
                state_change_timestamp=self.now.timestamp(),
            )
        )

    def lapse(self, *assets: str) -> None:
        for asset in assets:
            self.freshness(asset, FreshnessState.PASS, FreshnessState.FAIL)

    def recover(self, *assets: str) -> None:
        for asset in assets:
            self.freshness(asset, FreshnessState.FAIL, FreshnessState.PASS)


@pytest.fixture(scope="module")
def quiet_desk(product: dg.Definitions) -> Iterator[Desk]:
    """A desk on which all is made, and nothing has happened since the first look."""
    with dg.DagsterInstance.ephemeral() as instance:
        desk = Desk(product, instance)
        desk.land(DAYS[0], "a")
        desk.materialise(*LEARNING, version="first")
        desk.materialise(SUSPENSIONS, *CHAIN, SIMULATION, QUEUE)
        desk.tick()
        yield desk


@pytest.fixture
def desk(quiet_desk: Desk, instance: dg.DagsterInstance) -> Desk:
    """Its copy."""
    copy_instance(quiet_desk.instance, instance)
    desk = Desk(quiet_desk.product, instance)
    desk.cursor, desk.now = quiet_desk.cursor, quiet_desk.now
    return desk


@pytest.mark.slow
def test_nothing_is_made_anew_as_long_as_nothing_happens(desk: Desk):
    assert desk.tick() == {}
    assert desk.tick() == {}


@pytest.mark.slow
def test_landed_mail_goes_through_the_whole_chain_of_its_day_once(desk: Desk):
    desk.land(DAYS[0], "b")

    assert desk.tick() == requested(CHAIN, DAYS[0])
    assert desk.tick() == {}


def test_mail_that_was_reported_again_unchanged_is_left_alone(desk: Desk):
    desk.land(DAYS[0], "a")

    assert desk.tick() == {}


@pytest.mark.slow
def test_late_mail_makes_no_later_day_anew(desk: Desk):
    desk.land("2025-06-01", "first mail of an earlier day")

    assert desk.tick() == requested(CHAIN, "2025-06-01")


def test_an_asset_made_from_the_ui_takes_along_what_is_made_of_it(desk: Desk):
    desk.materialise("ticket_embeddings", days=[DAYS[1]])

    assert desk.tick() == requested(["ticket_collection", *SORTING], DAYS[1])


@pytest.mark.parametrize("asset", ["ticket_labels", "candidate_classifier"])
def test_labels_and_candidates_make_no_day_anew(desk: Desk, asset: str):
    desk.materialise(asset, version="second")

    assert not desk.tick().keys() & set(CHAIN)


@pytest.mark.slow
def test_a_new_champion_predicts_the_last_days_anew_and_the_same_one_none(desk: Desk):
    desk.materialise("ticket_classifier", version="first")
    assert desk.tick() == {}

    desk.now = datetime(2025, 6, 20, 12, tzinfo=UTC)
    days = [f"2025-06-{day:02}" for day in range(14, 21)]
    desk.materialise(*CHAIN, days=[*DAYS, *days])
    desk.tick()
    desk.materialise("ticket_classifier", version="second")

    assert desk.tick() == requested(SORTING, *days) | requested([SUSPENSIONS], None)
    # Whose runs it waits for: here they are left undone, and it is next.
    assert desk.tick() == requested([SIMULATION], None)
    assert desk.tick() == {}


@pytest.mark.slow
def test_targets_are_simulated_once_a_day_whatever_mail_comes(desk: Desk):
    desk.land(DAYS[0], "b")
    assert SIMULATION not in desk.tick()
    desk.materialise(*CHAIN, days=[DAYS[0]])
    assert desk.tick() == {}

    desk.lapse(SIMULATION)
    assert desk.tick() == requested([SIMULATION], None)
    assert desk.tick() == {}


def test_what_people_say_is_looked_at_for_broken_promises_and_leaves_the_queue(desk: Desk):
    desk.materialise("ticket_labels", version="second")

    assert desk.tick() == requested([SUSPENSIONS, QUEUE], None)
    assert desk.tick() == {}


@pytest.mark.slow
def test_a_blocking_check_that_failed_earlier_holds_back_what_comes_after(desk: Desk):
    embeddings = dg.AssetKey("ticket_embeddings")
    check = dg.AssetCheckKey(embeddings, "vectors_are_finite_and_of_unit_length")
    desk.materialise("ticket_embeddings", days=[DAYS[1]])
    desk.judge(desk.ended_run(), check, DAYS[1], passed=False)

    assert desk.tick() == {}

    desk.judge(desk.ended_run(), check, DAYS[1], passed=True)
    assert desk.tick() == requested(["ticket_collection", *SORTING], DAYS[1])


@pytest.mark.slow
def test_a_desk_without_champion_predicts_nothing(product, instance):
    desk = Desk(product, instance)
    collected = CHAIN[:5]
    desk.materialise(*collected)
    desk.tick()
    desk.land(DAYS[0], "b")

    assert desk.tick() == requested(collected, DAYS[0])


@pytest.mark.slow
def test_a_lapse_makes_the_day_under_way_anew_once_with_what_is_made_of_it(desk: Desk):
    desk.lapse("clean_tickets", "ticket_predictions")

    assert desk.tick() == requested(CHAIN[2:], DAYS[1])
    # Its run is on its way, and then the freshness daemon has not looked yet.
    assert desk.tick() == {}
    desk.materialise(*CHAIN[2:], days=[DAYS[1]])
    assert desk.tick() == {}

    desk.recover("clean_tickets", "ticket_predictions")
    assert desk.tick() == {}
    desk.lapse("ticket_predictions")
    assert desk.tick() == requested(SORTING, DAYS[1])


def test_a_late_champion_is_trained_anew(desk: Desk):
    desk.lapse(*LEARNING)

    assert desk.tick() == requested([*LEARNING, SUSPENSIONS, QUEUE], None)


@pytest.mark.slow
def test_drift_of_a_day_is_reported_once_more_when_the_day_has_ended(desk: Desk):
    desk.now = datetime(2025, 6, 4, 0, 14, 45, tzinfo=UTC)
    assert desk.tick() == {}

    assert desk.tick() == requested(["drift_metrics", "drift_report"], DAYS[1])
    assert desk.tick() == {}


@pytest.mark.slow
def test_all_days_are_audited_once_a_night_and_in_no_run_of_a_day(desk: Desk):
    audits = [next(iter(audit.check_keys)).name for audit in AUDITS]
    desk.now = datetime(2025, 6, 4, 2, 59, 45, tzinfo=UTC)
    desk.tick()

    assert desk.tick() == requested(audits, None)
    assert desk.tick() == {}


@pytest.mark.slow
def test_mail_is_not_forgotten_when_the_code_location_is_reloaded(
    desk: Desk, product: dg.Definitions
):
    desk.land(DAYS[0], "b")
    reloaded = product.map_resolved_asset_specs(
        func=lambda spec: spec.replace_attributes(code_version="another")
    )

    assert desk.tick(reloaded) == requested(CHAIN, DAYS[0])
    assert desk.tick(reloaded) == {}


def test_every_asset_that_is_made_has_a_condition_and_a_freshness_policy(desk: Desk):
    nodes = [desk.graph.get(key) for key in desk.graph.materializable_asset_keys]

    assert {node.key.to_user_string() for node in nodes} == {
        *(*CHAIN, *LEARNING, SIMULATION, SUSPENSIONS, QUEUE)
    }
    assert all(node.automation_condition and node.freshness_policy for node in nodes)
