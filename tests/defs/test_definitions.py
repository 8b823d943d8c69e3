import os
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from ticket_assets.defs.partitions import DAILY, first_day, run_window
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.orchestration import run_pods
from ticket_assets.settings import Settings
from ticket_assets.storage.tables import TABLES

PROJECT = Path(__file__).parents[2]
BLOCKING_CHECKS = {
    "ticket_ids_are_unique",
    "received_dates_are_inside_the_partition",
    "no_text_is_empty",
    "languages_are_known",
    "no_personal_data_is_left",
    "every_clean_ticket_has_one_vector",
    "vectors_come_from_one_encoder",
    "vectors_have_the_encoders_dimension",
    "vectors_are_finite_and_of_unit_length",
    "collection_has_the_ids_of_the_table",
    "a_vector_finds_itself",
    "labels_are_configured",
    "candidate_beats_the_majority",
    "candidate_reaches_the_floor",
    "candidate_is_not_worse_than_the_champion",
    "every_clean_ticket_has_one_prediction",
    "predictions_are_in_the_label_set",
}
WARNING_CHECKS = {
    "nothing_is_delivered_over_a_persons_label",
    "no_decision_waits_too_long",
    "rejected_share_is_low",
    "candidate_was_not_rolled_back",
    "auto_share_is_high",
    "labels_hold",
    "drift_is_within_bounds",
    "realised_precision_is_within_target",
    "labels_keep_their_promise",
}
AUDITS = {
    "ticket_ids_are_unique_on_all_days",
    "every_clean_ticket_has_one_vector_on_all_days",
    "vectors_come_from_one_encoder_on_all_days",
    "collection_has_the_ids_of_the_table_on_all_days",
    "every_clean_ticket_has_one_prediction_on_all_days",
    "predictions_are_in_the_label_set_on_all_days",
    "labels_hold_on_all_days",
    "originals_are_as_they_landed",
    "no_message_waits_too_long",
    "no_day_is_left_half_way",
}


@pytest.fixture
def nodes(product: dg.Definitions) -> list:
    graph = product.resolve_asset_graph()
    return [graph.get(key) for key in graph.materializable_asset_keys]


@pytest.mark.slow
def test_dagster_accepts_the_definitions(tmp_path: Path):
    shutil.copy(PROJECT / "dagster_home" / "dagster.yaml", tmp_path)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TICKETS_")},
        "DAGSTER_HOME": str(tmp_path),
        "TICKETS_DATA_DIR": str(tmp_path / "data"),
    }

    validated = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m",
         "ticket_assets.definitions"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert validated.returncode == 0, validated.stdout + validated.stderr
    assert not (tmp_path / "data").exists(), "loading the definitions has written data"


def test_every_asset_says_what_it_is_and_whose(nodes: list):
    lacking = {
        (node.key.to_user_string(), what)
        for node in nodes
        for what, value in {
            "description": node.description,
            "kinds": node.kinds,
            "code_version": node.code_version,
            "owner": "team:support-data" in node.owners,
            "tag": node.tags.get("domain") == "it-support",
            "group": node.group_name != "default",
            "pool": node.pools,
        }.items()
        if not value
    }

    assert not lacking


def test_the_assets_are_the_graph_that_the_desk_knows(nodes: list):
    groups: dict[str, set[str]] = {}
    for node in nodes:
        groups.setdefault(node.group_name, set()).add(node.key.to_user_string())

    assert groups == {
        "1_mail": {"raw_tickets", "rejected_messages", "ticket_labels"},
        "2_text": {"clean_tickets", "ticket_embeddings"},
        "3_learning": {"candidate_classifier", "suspected_label_errors", "ticket_classifier"},
        "4_sorting": {
            *("ticket_collection", "ticket_predictions", "threshold_simulation"),
            *("suspended_labels", "review_queue"),
        },
        "5_drift": {"drift_metrics", "drift_report"},
        "6_delivery": {"delivered_tickets"},
    }


def test_no_arrow_between_groups_leads_back_in_the_order_of_their_names(product: dg.Definitions):
    graph = product.resolve_asset_graph()

    backward = {
        f"{parent.to_user_string()} -> {node.key.to_user_string()}"
        for node in graph.asset_nodes
        for parent in node.parent_keys
        if graph.get(parent).group_name > node.group_name
    }

    assert not backward


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_a_table_asset_shows_the_columns_that_are_declared(nodes: list, table):
    (metadata,) = [node.metadata for node in nodes if node.key == dg.AssetKey(table.name)]

    columns = metadata["dagster/column_schema"].columns

    assert [(column.name, column.type) for column in columns] == [
        (column.name, column.type) for column in table.columns
    ]
    assert all(column.description for column in columns)
    assert metadata["dagster/table_name"] == f"tickets.{table.name}"
    assert metadata.get("partition_expr") == table.partition_column


def test_what_is_written_by_day_is_partitioned_by_day_and_backfilled_in_one_run(nodes: list):
    whole = {node.key.to_user_string() for node in nodes if node.partitions_def is None}
    daily = [node for node in nodes if node.partitions_def is not None]

    assert whole == {
        "ticket_labels",
        "candidate_classifier",
        "suspected_label_errors",
        "ticket_classifier",
        "threshold_simulation",
        "suspended_labels",
        "review_queue",
    }
    assert all(node.partitions_def == DAILY for node in daily)
    assert all(node.backfill_policy == dg.BackfillPolicy.single_run() for node in daily)


@pytest.mark.parametrize(
    ("asset", "jobs"),
    [
        (run_pods.ENCODING, run_pods.ENCODING_JOBS),
        (run_pods.TRAINING, run_pods.TRAINING_JOBS),
    ],
)
def test_the_launcher_of_pods_knows_which_jobs_encode_or_train(
    product: dg.Definitions, asset: str, jobs: set[str]
):
    repository = product.get_repository_def()

    assert jobs == {
        job.name
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
        and dg.AssetKey(asset) in job.asset_layer.selected_asset_keys
    }


RUNS_OF_FIVE_DAYS = """
from dagster._core.definitions.automation_tick_evaluation_context import (
    build_run_requests_with_backfill_policies,
)
from dagster._core.definitions.events import AssetKeyPartitionKey
import dagster as dg
from ticket_assets.defs.partitions import run_window
from ticket_assets.definitions import defs

graph = defs.resolve_asset_graph()
days = [f"2025-06-0{number}" for number in range(1, 6)]
keys = [dg.AssetKey("raw_tickets"), dg.AssetKey("ticket_predictions")]
with dg.DagsterInstance.ephemeral() as instance:
    requests = build_run_requests_with_backfill_policies(
        [AssetKeyPartitionKey(key, day) for key in keys for day in days], graph, instance
    )
for request in requests:
    print(*run_window(request.tags), len(request.asset_selection))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run_days", "runs"),
    [
        ("", ["2025-06-01 2025-06-05 2"]),
        ("2", ["2025-06-01 2025-06-02 2", "2025-06-03 2025-06-04 2", "2025-06-05 2025-06-05 2"]),
    ],
)
def test_a_run_has_as_many_days_as_it_may(
    product_environment: dict[str, str], run_days: str, runs: list[str]
):
    """Of what automation requests, and of backfills."""
    done = subprocess.run(
        [sys.executable, "-c", RUNS_OF_FIVE_DAYS],
        env=product_environment | {"TICKETS_RUN_DAYS": run_days},
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines() == runs


def test_checks_of_wrong_data_block_and_checks_of_changed_mail_do_not(product: dg.Definitions):
    graph = product.resolve_asset_graph()
    checks = [graph.get_check_spec(key) for key in graph.asset_check_keys]

    assert {check.name for check in checks if check.blocking} == BLOCKING_CHECKS
    assert {check.name for check in checks if not check.blocking} == WARNING_CHECKS | AUDITS
    assert all(check.description for check in checks)


def test_a_check_judges_by_day_what_is_made_by_day(product: dg.Definitions):
    graph = product.resolve_asset_graph()

    for key in graph.asset_check_keys:
        is_daily = graph.get(key.asset_key).is_partitioned and key.name not in AUDITS
        assert graph.get(key).partitions_def == (DAILY if is_daily else None), key


def test_all_days_are_audited_by_the_nightly_audit_alone(product: dg.Definitions):
    graph = product.resolve_asset_graph()
    step_names = {
        graph.get_check_spec(key).get_python_identifier(): key.name
        for key in graph.asset_check_keys
    }

    def checks(job: str) -> set[str]:
        steps = {node.name for node in product.resolve_job_def(job).nodes}
        return {name for step, name in step_names.items() if step in steps}

    assert checks("audit") == AUDITS
    for job in ("whole_graph", "classify_mail", "collect_mail", "retrain"):
        assert checks(job)
        assert not checks(job) & AUDITS


def test_partitions_start_on_the_first_day_of_the_settings(product_settings: Settings):
    assert DAILY.get_first_partition_key() == product_settings.first_day.isoformat() == "2025-06-01"


def test_today_has_its_partition_already():
    keys = DAILY.get_partition_keys(current_time=datetime(2025, 6, 3, 12, tzinfo=UTC))

    assert keys == ["2025-06-01", "2025-06-02", "2025-06-03"]


def test_without_the_setting_partitions_start_with_the_first_import(settings: Settings):
    unset = settings.model_copy(update={"first_day": None})
    Desk(unset).landing.land(
        [
            IncomingMessage(
                content=b"Date: Wed, 5 Mar 2025 10:00:00 +0000\n\nHello",
                extension="eml",
                source="test",
                received_at=datetime(2025, 3, 5, 10, tzinfo=UTC),
                received_at_source="date",
                message_id=None,
            )
        ]
    )

    assert first_day(Desk(unset)) == date(2025, 3, 5)
    assert first_day(Desk(settings)) == date(2025, 6, 1)


@pytest.mark.parametrize(
    ("tags", "window"),
    [
        ({}, None),
        ({"dagster/partition": "2025-06-02"}, (date(2025, 6, 2), date(2025, 6, 2))),
        (
            {
                "dagster/asset_partition_range_start": "2025-06-01",
                "dagster/asset_partition_range_end": "2025-06-09",
            },
            (date(2025, 6, 1), date(2025, 6, 9)),
        ),
    ],
)
def test_a_run_says_by_its_tags_which_days_it_is_about(tags: dict[str, str], window):
    assert run_window(tags) == window
