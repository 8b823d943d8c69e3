"""What Dagster records of checks that judge the days of their run, and what other days may be."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from tests.slow_cases import slow
from ticket_assets.defs import audit
from ticket_assets.defs.clean_tickets import languages_are_known, no_text_is_empty
from ticket_assets.defs.partitions import BACKFILLS, DAILY
from ticket_assets.defs.raw_tickets import ticket_ids_are_unique
from ticket_assets.defs.ticket_collection import (
    a_vector_finds_itself,
    collection_has_the_ids_of_the_table,
)
from ticket_assets.defs.ticket_embeddings import (
    every_clean_ticket_has_one_vector,
    vectors_are_finite_and_of_unit_length,
    vectors_come_from_one_encoder,
    vectors_have_the_encoders_dimension,
)
from ticket_assets.defs.ticket_predictions import (
    every_clean_ticket_has_one_prediction,
    labels_hold,
    predictions_are_in_the_label_set,
)
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings

DAYS = ["2025-06-01", "2025-06-02", "2025-06-03"]
THREE_DAYS = {
    "dagster/asset_partition_range_start": DAYS[0],
    "dagster/asset_partition_range_end": DAYS[-1],
}
OF_THE_RUN = datetime(2025, 6, 19, 12)
ANOTHER_DAY = datetime(2025, 6, 5, 12)
RUN = {"dagster/partition": "2025-06-19"}

Put = Callable[..., None]


@pytest.fixture
def put(settings: Settings, fill: Callable[..., None]) -> Put:
    """Puts a row into a table of the test's own warehouse."""

    def append(table: str, **row: Any) -> None:
        fill(settings, table, [row], 384)

    return append


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


# What Dagster records of a run over several days


@dg.asset(partitions_def=DAILY, backfill_policy=BACKFILLS)
def raw_tickets() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult()


@dg.asset(
    deps=[raw_tickets],
    partitions_def=DAILY,
    automation_condition=dg.AutomationCondition.all_deps_blocking_checks_passed(),
)
def follower() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult()


@pytest.fixture
def definitions(settings: Settings) -> dg.Definitions:
    """A daily asset with one of the product's checks, and another asset that waits for it."""
    return dg.Definitions(
        assets=[raw_tickets, follower],
        asset_checks=[ticket_ids_are_unique],
        jobs=[dg.define_asset_job("one", dg.AssetSelection.assets(raw_tickets))],
        resources={"desk": Desk(settings)},
    )


@pytest.fixture
def executions(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> Callable[[], dict[str | None, str]]:
    """Runs three days at once, and reads what stands of the check: a state per partition."""

    def run() -> dict[str | None, str]:
        definitions.resolve_job_def("one").execute_in_process(
            instance=instance, tags=THREE_DAYS, raise_on_error=False
        )
        history = instance.event_log_storage.get_asset_check_execution_history(
            ticket_ids_are_unique.check_key, limit=100
        )
        return {record.partition: record.status.value for record in reversed(history)}

    return run


def days_let_through(definitions: dg.Definitions, instance: dg.DagsterInstance) -> list[str]:
    result = dg.evaluate_automation_conditions(definitions, instance)
    return sorted(result.get_requested_partitions(dg.AssetKey("follower")) & set(DAYS))


def test_a_run_of_three_days_leaves_a_verdict_on_each_of_them(
    put: Put, executions: Callable[[], dict[str | None, str]]
):
    put("raw_tickets", ticket_id="a", received_at=datetime(2025, 6, 2))

    assert executions() == dict.fromkeys(DAYS, "SUCCEEDED")


def test_a_checks_page_shows_the_figures_of_the_latest_day_with_mail(
    put: Put,
    executions: Callable[[], dict[str | None, str]],
    instance: dg.DagsterInstance,
):
    for _ in range(2):
        put("raw_tickets", ticket_id="a", received_at=datetime(2025, 6, 2))
    executions()

    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [ticket_ids_are_unique.check_key]
    )[ticket_ids_are_unique.check_key]

    assert latest.partition == DAYS[-1]
    assert latest.event is not None
    evaluation = latest.event.dagster_event.asset_check_evaluation_data
    assert evaluation.passed
    assert evaluation.description == (
        "Nothing was received. On 2025-06-02, the latest day with mail, this check failed."
    )
    assert evaluation.metadata["latest_day_with_mail"].value == "2025-06-02"
    assert evaluation.metadata["repeated_ids"].value == 1


@pytest.mark.slow
def test_automation_conditions_see_the_verdicts_of_a_run_of_three_days(
    put: Put,
    executions: Callable[[], dict[str | None, str]],
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
):
    put("raw_tickets", ticket_id="a", received_at=datetime(2025, 6, 2))
    executions()

    assert days_let_through(definitions, instance) == DAYS

    put("raw_tickets", ticket_id="a", received_at=datetime(2025, 6, 2))
    assert executions() == dict(zip(DAYS, ["SUCCEEDED", "FAILED", "SUCCEEDED"], strict=True))

    assert days_let_through(definitions, instance) == [DAYS[0], DAYS[2]]


# Days that another run is at work on


def ticket(
    settings: Settings, put: Put, received_at: datetime, name: str, *, collected: bool = True
) -> None:
    """A ticket that all steps have been through, under this name."""
    vector = np.zeros(384, dtype=np.float32)
    vector[ord(name)] = 1.0
    row = {"ticket_id": name, "received_at": received_at, "text_hash": name}
    put("raw_tickets", **row)
    put("clean_tickets", **row, text="The printer jams", language="en")
    put("ticket_embeddings", **row, model="one", vector=vector.tolist())
    put("ticket_predictions", **row, **PREDICTED, decision="labelled")
    put("ticket_labels", ticket_id=name, category="access")
    if collected:
        collect(settings, name, received_at, vector)


PREDICTED = {"category": "access", "model_category": "access", "category_confidence": 0.9}


def collect(settings: Settings, name: str, received_at: datetime, vector: np.ndarray) -> None:
    rows = pd.DataFrame(
        {
            "ticket_id": [name],
            "received_at": [received_at],
            "language": ["en"],
            "text_hash": [name],
            "category": [None],
            "priority": [None],
        }
    )
    with Desk(settings).collection("one") as collection:
        collection.sync(rows, vector[None], received_at.date(), received_at.date())


def breaks(settings: Settings, put: Put, received_at: datetime) -> dict[str, Callable[[], None]]:
    """By check what breaks its promise on a day, as a run that is half through leaves it."""
    lonely = {"ticket_id": "z", "received_at": received_at, "text_hash": "z"}
    unit = np.eye(384, dtype=np.float32)[5]
    return {
        "ticket_ids_are_unique": lambda: [put("raw_tickets", **lonely) for _ in "12"],
        "no_text_is_empty": lambda: put("clean_tickets", **lonely, text=" ", language="en"),
        "languages_are_known": lambda: put("clean_tickets", **lonely, text="x", language="tlh"),
        "every_clean_ticket_has_one_vector": lambda: put(
            "clean_tickets", **lonely, text="x", language="en"
        ),
        "vectors_come_from_one_encoder": lambda: [
            put("ticket_embeddings", **lonely, model=model, vector=unit.tolist())
            for model in ("one", "another")
        ],
        "vectors_are_finite_and_of_unit_length": lambda: put(
            "ticket_embeddings", **lonely, model="one", vector=(2 * unit).tolist()
        ),
        "collection_has_the_ids_of_the_table": lambda: put(
            "ticket_embeddings", **lonely, model="one", vector=unit.tolist()
        ),
        "a_vector_finds_itself": lambda: put(
            "ticket_embeddings", **lonely, model="one", vector=unit.tolist()
        ),
        "every_clean_ticket_has_one_prediction": lambda: put(
            "ticket_predictions", **lonely, **PREDICTED
        ),
        "predictions_are_in_the_label_set": lambda: put(
            "ticket_predictions", **lonely, **PREDICTED | {"category": "coffee"}
        ),
        "labels_hold": lambda: put(
            "ticket_predictions", **lonely, **PREDICTED, decision="labelled"
        ),
    }


CHECKS = [
    ticket_ids_are_unique,
    no_text_is_empty,
    languages_are_known,
    every_clean_ticket_has_one_vector,
    vectors_come_from_one_encoder,
    vectors_have_the_encoders_dimension,
    vectors_are_finite_and_of_unit_length,
    collection_has_the_ids_of_the_table,
    a_vector_finds_itself,
    every_clean_ticket_has_one_prediction,
    labels_hold,
    predictions_are_in_the_label_set,
]


def failed(
    settings: Settings, instance: dg.DagsterInstance, checks: list[dg.AssetChecksDefinition]
) -> set[str]:
    """Names of the checks that fail in a run of one day."""
    definitions = dg.Definitions(
        asset_checks=checks,
        jobs=[dg.define_asset_job("checks", dg.AssetSelection.checks(*checks))],
        resources={"desk": Desk(settings)},
    )
    run = definitions.resolve_job_def("checks").execute_in_process(
        instance=instance, tags=RUN, raise_on_error=False
    )
    evaluations = run.get_asset_check_evaluations()
    assert len(evaluations) == len(checks)
    failures = [evaluation for evaluation in evaluations if not evaluation.passed]
    assert run.success is not any(evaluation.blocking for evaluation in failures)
    return {evaluation.check_name for evaluation in failures}


@pytest.mark.slow
def test_a_day_that_another_run_is_at_work_on_fails_no_check(
    settings: Settings, put: Put, instance: dg.DagsterInstance
):
    ticket(settings, put, OF_THE_RUN, "a")
    for leave_half_done in breaks(settings, put, ANOTHER_DAY).values():
        leave_half_done()

    assert failed(settings, instance, CHECKS) == set()
    assert failed(settings, instance, audit.AUDITS) == {
        f"{name}_on_all_days"
        for name in (
            "ticket_ids_are_unique",
            "every_clean_ticket_has_one_vector",
            "vectors_come_from_one_encoder",
            "collection_has_the_ids_of_the_table",
            "every_clean_ticket_has_one_prediction",
            "predictions_are_in_the_label_set",
            "labels_hold",
        )
    }


BROKEN = breaks(Settings(), lambda: None, OF_THE_RUN)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ticket_ids_are_unique",
        *slow(*(name for name in BROKEN if name != "ticket_ids_are_unique")),
    ],
)
def test_what_is_half_done_on_a_day_of_the_run_fails_its_check(
    settings: Settings, put: Put, instance: dg.DagsterInstance, name: str
):
    ticket(settings, put, OF_THE_RUN, "a")
    breaks(settings, put, OF_THE_RUN)[name]()

    (check,) = [check for check in CHECKS if check.check_key.name == name]
    assert failed(settings, instance, [check]) == {name}


# The audit of all days


@pytest.mark.slow
def test_a_desk_without_faults_passes_its_audit(
    settings: Settings, put: Put, instance: dg.DagsterInstance
):
    ticket(settings, put, OF_THE_RUN, "a")
    ticket(settings, put, ANOTHER_DAY, "b")

    assert failed(settings, instance, audit.AUDITS) == set()


@pytest.mark.slow
def test_a_desk_that_has_collected_mail_only_passes_its_audit(
    settings: Settings, put: Put, instance: dg.DagsterInstance
):
    put("raw_tickets", ticket_id="a", received_at=OF_THE_RUN)

    assert failed(settings, instance, audit.AUDITS) == set()
