"""retrain_on_drift and weekly_retraining: one training for each cause, and none beside another."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.defs import retraining
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import Label
from ticket_assets.planning.retraining import Drift, LearningState, learning_state
from ticket_assets.settings import Settings
from ticket_assets.storage.warehouse import WarehouseError

DRIFTED = LearningState("a", "b", 300, Drift(date(2025, 6, 17), date(2025, 6, 19), ("embedding",)))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:  # schedules ask for its reference
        yield instance


def look(settings: Settings, instance: dg.DagsterInstance) -> Any:
    context = dg.build_sensor_context(instance, resources={"desk": Desk(settings)})
    return retraining.retrain_on_drift(context)


def sunday(settings: Settings, instance: dg.DagsterInstance) -> Any:
    context = dg.build_schedule_context(instance, resources={"desk": Desk(settings)})
    return retraining.weekly_retraining(context)


@pytest.mark.slow
def test_an_empty_desk_leaves_the_first_model_to_new_mail(
    settings: Settings, instance: dg.DagsterInstance
):
    assert look(settings, instance).skip_message == (
        "No champion yet: new_mail has the first one learnt."
    )
    assert sunday(settings, instance).skip_message == "No new labels since the last training."


@pytest.mark.slow
def test_a_training_says_why_and_follows_no_other_too_soon(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retraining, "learning_state", lambda _: DRIFTED)

    request = look(settings, instance)

    assert request.run_key == "drift since 2025-06-17, after b"
    assert request.tags["tickets/reason"] == (
        "Trained: drift from 2025-06-17 to 2025-06-19 (embedding), 300 new labels since the last"
        " training."
    )
    assert sunday(settings, instance).tags["tickets/reason"] == "300 new labels since last week"

    instance.report_runless_asset_event(dg.AssetMaterialization("candidate_classifier"))

    assert "but the last training was at" in look(settings, instance).skip_message


@pytest.mark.parametrize("job", ["retrain", "whole_graph"])
def test_no_training_beside_another(
    settings: Settings, instance: dg.DagsterInstance, job: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retraining, "learning_state", lambda _: DRIFTED)
    running = dg.GraphDefinition(name=job).to_job()
    instance.create_run_for_job(running, status=dg.DagsterRunStatus.STARTED)

    assert look(settings, instance).skip_message == "A training is at work."
    assert sunday(settings, instance).skip_message == "A training is at work."


def test_a_warehouse_that_is_being_written_is_looked_at_again(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    def written(_: Desk) -> LearningState:
        raise WarehouseError("The warehouse is in use.")

    monkeypatch.setattr(retraining, "learning_state", written)

    assert look(settings, instance).skip_message == (
        "The warehouse is in use. The next look decides."
    )


@pytest.mark.slow
def test_tickets_labelled_and_labelled_anew_since_the_training_are_new_labels(
    settings: Settings, trained: TrainedClassifier, fill: Callable[..., None]
):
    desk = Desk(settings)
    desk.models.promote(desk.models.save(trained, datetime(2025, 6, 1, tzinfo=UTC)).version)
    learnt = list(trained.training_tickets["ticket_id"])
    later = [f"later{number}" for number in range(5)]
    fill(settings, "clean_tickets", [{"ticket_id": name} for name in [*learnt, *later]])

    def label(tickets: list[str], moment: datetime) -> int:
        desk.landing.land_labels(
            Label("access", None, moment, "a person", ticket, None) for ticket in tickets
        )
        return learning_state(desk).new_labels

    assert label(learnt, datetime(2025, 5, 1, tzinfo=UTC)) == 0
    assert label(learnt[:3], datetime(2025, 6, 2, tzinfo=UTC)) == 3
    # Imported after the training with the time at which a person gave them, before it.
    assert label(later, datetime(2025, 5, 20, tzinfo=UTC)) == 5
