"""threshold_simulation: the asset over a small desk, also with a champion of an earlier release."""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
import pytest

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.defs.threshold_simulation import threshold_simulation
from ticket_assets.desk import Desk
from ticket_assets.metrics.model import simulation_families
from ticket_assets.orchestration.observation.simulation import simulated_targets
from ticket_assets.settings import Settings


@pytest.fixture
def sorted_desk(settings: Settings, fill) -> Settings:
    day = datetime(2025, 6, 20)
    fill(
        settings,
        "ticket_predictions",
        [
            {"ticket_id": f"new{number}", "received_at": day, "model_category": "network"}
            | {"category_confidence": 0.99, "decision": "auto" if number else "labelled"}
            for number in range(10)
        ],
    )
    fill(settings, "ticket_labels", [{"ticket_id": "new0", "category": "network"}])
    return settings


def simulated(
    settings: Settings, trained: TrainedClassifier, instance: dg.DagsterInstance | None = None
):
    """The rows of the table, and the metadata beside it."""
    desk = Desk(settings)
    desk.models.promote(desk.models.save(trained, datetime(2025, 6, 1, tzinfo=UTC)).version)
    resources = {"desk": desk, "io_manager": WarehouseIOManager(desk.warehouse)}
    result = dg.materialize([threshold_simulation], resources=resources, instance=instance)
    (made,) = result.asset_materializations_for_node("threshold_simulation")
    return desk.warehouse.frame("select * from threshold_simulation"), made.metadata


@pytest.mark.slow
def test_the_exporter_tells_the_latest_simulation(
    sorted_desk: Settings, trained: TrainedClassifier
):
    with dg.DagsterInstance.ephemeral() as instance:
        assert simulated_targets(instance) == {}
        rows, _ = simulated(sorted_desk, trained, instance)
        families = list(simulation_families(simulated_targets(instance)))

    told = {
        (sample.name, sample.labels["target_precision"]): sample.value
        for family in families
        for sample in family.samples
    }
    everything = rows[rows["label"].isna()].set_index("target_precision")
    assert told["tickets_simulated_share_ratio", "0.95"] == everything.loc[0.95, "share"]
    assert told["tickets_simulated_share_low_ratio", "0.8"] == everything.loc[0.80, "share_low"]


def test_every_target_is_simulated_for_all_tickets_and_each_label(
    sorted_desk: Settings, trained: TrainedClassifier
):
    rows, metadata = simulated(sorted_desk, trained)

    everything = rows[rows["label"].isna()]
    assert everything["target_precision"].tolist() == [percent / 100 for percent in range(80, 100)]
    assert everything["tickets"].tolist() == [10] * 20
    assert (everything["to_automatic"] + everything["to_review"] <= 9).all()
    (now,) = everything[everything["is_present"]].to_dict("records")
    assert (now["target_precision"], now["to_automatic"], now["to_review"]) == (0.95, 0, 0)
    assert (metadata["tickets"].value, metadata["labelled"].value) == (10, 1)
    assert "95 % (now)" in metadata["targets"].value
    assert metadata["run_plot"].value.startswith("![Automatic share")


def test_a_champion_of_an_earlier_release_fails_nothing_and_is_told(
    sorted_desk: Settings, trained: TrainedClassifier
):
    category = replace(trained.evaluation.targets["category"], simulated_thresholds={})
    former = replace(
        trained, evaluation=replace(trained.evaluation, targets={"category": category})
    )

    rows, metadata = simulated(sorted_desk, former)

    assert rows.empty
    assert "was trained by an earlier release" in metadata["not_simulated"].value
    assert "tickets run" in metadata["not_simulated"].value


@pytest.mark.slow
def test_what_was_simulated_replaces_what_was_simulated_before(
    sorted_desk: Settings, trained: TrainedClassifier
):
    first, _ = simulated(sorted_desk, trained)
    again, _ = simulated(sorted_desk, trained)

    assert len(first) == len(again) == 20 * (1 + 3)
