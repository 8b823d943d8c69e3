"""A candidate that fails a gate never becomes the champion, by whatever way it is asked for."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from ticket_assets.classification.promotion import read_candidate
from ticket_assets.classification.training_set import TrainingSet
from ticket_assets.defs import candidate_classifier, ticket_classifier, ticket_labels
from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.defs.jobs import LEARN
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import Label
from ticket_assets.settings import Settings
from ticket_assets.storage.warehouse import DuckDBFile

pytestmark = pytest.mark.slow

Retrain = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(scope="module")
def retrain() -> Retrain:
    """Materialises what the product's `retrain` job does, or `assets` alone, with their checks."""
    modules = [ticket_labels, candidate_classifier, ticket_classifier]

    def run(settings: Settings, *assets: str) -> dg.ExecuteInProcessResult:
        definitions = dg.Definitions(
            assets=dg.load_assets_from_modules(modules),
            asset_checks=dg.load_asset_checks_from_modules(modules),
            jobs=[dg.define_asset_job("retrain", dg.AssetSelection.assets(*(assets or LEARN)))],
            resources={
                "desk": Desk(settings),
                "io_manager": WarehouseIOManager(DuckDBFile(settings.warehouse_path)),
            },
        )
        return definitions.resolve_job_def("retrain").execute_in_process(raise_on_error=False)

    return run


def label(settings: Settings, categories: dict[str, str], when: datetime) -> None:
    Desk(settings).landing.land_labels(
        Label(category, None, when, "test", ticket_id, None)
        for ticket_id, category in categories.items()
    )


@pytest.fixture(scope="module")
def promoted(
    product_settings: Settings,
    labelled_desk: TrainingSet,
    fill: Callable[..., None],
    retrain: Retrain,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """A desk whose first candidate has become the champion."""
    settings = product_settings.model_copy(
        update={"data_dir": tmp_path_factory.mktemp("desk"), "macro_f1_floor": 0.5}
    )
    tickets = labelled_desk.tickets.to_dict("records")
    kept = ("ticket_id", "received_at", "text", "tokens", "language")
    fill(settings, "clean_tickets", [{name: row[name] for name in kept} for row in tickets])
    fill(
        settings,
        "ticket_embeddings",
        [
            {
                "ticket_id": row["ticket_id"],
                "received_at": row["received_at"],
                "model": labelled_desk.encoder,
                "vector": vector.tolist(),
            }
            for row, vector in zip(tickets, labelled_desk.vectors, strict=True)
        ],
        8,
    )
    label(
        settings,
        {row["ticket_id"]: row["category"] for row in tickets},
        datetime(2025, 7, 1, tzinfo=UTC),
    )
    assert retrain(settings).success
    return settings


@pytest.fixture
def desk(promoted: Settings, tmp_path: Path) -> Settings:
    """That desk, the test's own."""
    shutil.copytree(promoted.data_dir, tmp_path / "data")
    return promoted.model_copy(update={"data_dir": tmp_path / "data"})


@pytest.fixture
def demanding(desk: Settings) -> Settings:
    """That desk when it asks for more than any candidate has, and another seed makes another."""
    return desk.model_copy(update={"macro_f1_floor": 1.0, "seed": 8})


def champion(settings: Settings) -> str:
    return Desk(settings).models.require_champion().version


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}


def materialised(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    (failed,) = result.filter_events(lambda event: event.event_type_value == "STEP_FAILURE")
    return str(failed.step_failure_data.error)


def test_a_candidate_below_the_floor_is_not_promoted_in_the_run_that_made_it(
    demanding: Settings, retrain: Retrain
):
    former = champion(demanding)

    result = retrain(demanding)

    assert not result.success
    assert failed_checks(result) == {"candidate_reaches_the_floor"}
    assert materialised(result) == set(LEARN) - {"ticket_classifier"}
    assert read_candidate(Desk(demanding).models).version != former
    assert champion(demanding) == former


def test_a_champion_that_stays_has_no_former_version(promoted: Settings, retrain: Retrain):
    again = retrain(promoted)

    (event,) = (
        event
        for event in again.get_asset_materialization_events()
        if event.asset_key.to_user_string() == "ticket_classifier"
    )
    metadata = event.materialization.metadata
    assert (metadata["version"].value, metadata["former_version"].value) == (champion(promoted), "")


def test_it_is_not_promoted_by_a_later_run_of_the_champion_alone_either(
    demanding: Settings, retrain: Retrain
):
    former = champion(demanding)
    retrain(demanding)

    result = retrain(demanding, "ticket_classifier")

    assert not result.success
    assert "PromotionRefusedError" in failure(result)
    assert "below TICKETS_MACRO_F1_FLOOR" in failure(result)
    assert materialised(result) == set()
    assert champion(demanding) == former
    assert Desk(demanding).models.load(former)


def test_the_champion_of_before_stays_the_one_that_predicts(
    demanding: Settings, retrain: Retrain, labelled_desk: TrainingSet
):
    store = Desk(demanding).models
    tickets, vectors = labelled_desk.tickets, labelled_desk.vectors
    before = store.load(champion(demanding)).predict(tickets, vectors)

    retrain(demanding)
    retrain(demanding, "ticket_classifier")

    after = store.load(champion(demanding)).predict(tickets, vectors)
    assert after.equals(before)


def test_once_the_floor_is_lowered_the_waiting_candidate_is_promoted(
    demanding: Settings, retrain: Retrain
):
    retrain(demanding)
    waiting = read_candidate(Desk(demanding).models).version
    lowered = demanding.model_copy(update={"macro_f1_floor": 0.5})

    result = retrain(lowered, "ticket_classifier")

    assert result.success
    assert champion(lowered) == waiting


def test_a_candidate_that_learnt_from_wrong_labels_does_not_take_over(
    desk: Settings, retrain: Retrain, labelled_desk: TrainingSet
):
    former = champion(desk)
    names = labelled_desk.tickets["ticket_id"].tolist()
    # Somebody imports a list in which the rows have slipped.
    slipped = labelled_desk.tickets["category"].sample(frac=1.0, random_state=3).tolist()
    label(desk, dict(zip(names, slipped, strict=True)), datetime(2025, 7, 2, tzinfo=UTC))
    lenient = desk.model_copy(update={"macro_f1_floor": 0.0})

    result = retrain(lenient)
    alone = retrain(lenient, "ticket_classifier")

    assert not result.success
    assert "candidate_is_not_worse_than_the_champion" in failed_checks(result)
    assert not alone.success
    assert "it is worse than the champion" in failure(alone)
    assert champion(lenient) == former


def test_a_candidate_as_good_as_the_champion_takes_over(desk: Settings, retrain: Retrain):
    former = champion(desk)
    other = desk.model_copy(update={"seed": 8})

    result = retrain(other)

    assert result.success
    assert materialised(result) == set(LEARN)
    assert champion(other) == read_candidate(Desk(other).models).version != former


def test_a_rolled_back_champion_does_not_return_by_itself(desk: Settings, retrain: Retrain):
    former = champion(desk)
    other = desk.model_copy(update={"seed": 8})
    retrain(other)
    taken_back = champion(other)

    restored = Desk(other).models.rollback()
    again = retrain(other)

    assert (restored.version, champion(other)) == (former, former)
    assert again.success
    assert failed_checks(again) == {"candidate_was_not_rolled_back"}
    (check,) = [
        evaluation for evaluation in again.get_asset_check_evaluations()
        if evaluation.check_name == "candidate_was_not_rolled_back"
    ]  # fmt: skip
    assert check.metadata["rolled_back"].value == taken_back
    assert check.metadata["champion"].value == former


def test_new_labels_make_another_candidate_that_may_follow_the_one_rolled_back(
    desk: Settings, retrain: Retrain, labelled_desk: TrainingSet
):
    former = champion(desk)
    other = desk.model_copy(update={"seed": 8})
    retrain(other)
    taken_back = champion(other)
    Desk(other).models.rollback()
    ticket = labelled_desk.tickets.iloc[1]
    corrected = "network" if ticket["category"] != "network" else "access"
    label(other, {ticket["ticket_id"]: corrected}, datetime(2025, 7, 2, tzinfo=UTC))

    result = retrain(other)

    assert result.success
    assert failed_checks(result) == set()
    assert champion(other) not in {former, taken_back}


def test_doubted_labels_are_listed_even_when_the_candidate_is_refused(
    demanding: Settings, retrain: Retrain, labelled_desk: TrainingSet
):
    result = retrain(demanding)

    assert failed_checks(result) == {"candidate_reaches_the_floor"}
    suspects = DuckDBFile(demanding.warehouse_path).frame(
        "select * from suspected_label_errors order by rank"
    )
    given = labelled_desk.tickets.set_index("ticket_id")["category"]
    assert suspects["rank"].tolist() == list(range(1, len(suspects) + 1))
    assert suspects["confidence"].is_monotonic_decreasing
    assert set(suspects["model_version"]) == {read_candidate(Desk(demanding).models).version}
    assert set(suspects["labelled_by"]) == {"test"}
    assert (suspects["given"] == suspects["ticket_id"].map(given)).all()
    assert (suspects["given"] != suspects["predicted"]).all()
    assert suspects["received_at"].notna().all()
    # One ticket in ten of this desk was filed under a category drawn by lot.
    numbers = [int(name, 16) for name in suspects["ticket_id"]]
    assert sum(number % 10 == 0 for number in numbers) >= 5


def test_figures_stand_beside_those_of_the_champion(desk: Settings, retrain: Retrain):
    first = retrain(desk)
    second = retrain(desk.model_copy(update={"seed": 8}))

    def figures(result: dg.ExecuteInProcessResult) -> list[str]:
        (made,) = [
            materialization
            for materialization in result.asset_materializations_for_node("candidate_classifier")
            if materialization.asset_key == dg.AssetKey("candidate_classifier")
        ]
        return made.metadata["category_figures"].value.splitlines()

    # The first is the champion itself: there is nothing to compare it with.
    assert figures(first)[0] == "| figure | candidate |"
    assert figures(second)[0] == "| figure | candidate | champion, in its time | change |"
    assert {"macro-F1", "calibration error (ECE)", "accuracy in en"} <= {
        line.split(" | ")[0].removeprefix("| ") for line in figures(second)
    }
