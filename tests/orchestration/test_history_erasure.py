"""Whatever Dagster has recorded of a ticket or a person is gone from its databases and logs."""

import dagster as dg
import pytest

from tests.slow_cases import slow
from ticket_assets.orchestration.history_erasure import erase_from_history

ERASED_ID, OTHER_ID = "0123456789abcdef0123", "fedcba98765432100123"
CONTENT_HASH = f"{ERASED_ID}{'ab' * 22}"
ADDRESS = "zuzanna.quxhorn@example.net"
OTHER_ADDRESS = "not.zuzanna.quxhorn@example.net"


@pytest.fixture(params=["new_instance", *slow("dagster_in_postgres")])
def instance(request, tmp_path):
    with request.getfixturevalue(request.param)(tmp_path) as opened:
        yield opened


@dg.op
def fails(context):
    print(f"reads {ADDRESS}")
    context.log.info(f"ticket {ERASED_ID} of <{ADDRESS}>, not of {OTHER_ADDRESS}")
    raise ValueError(f"cannot cast '{ADDRESS.upper()}' of {CONTENT_HASH}.eml")


@dg.job(tags={"tickets/reason": f"{ERASED_ID} and {OTHER_ID}"})
def job():
    fails()


@dg.asset_check(asset="clean_tickets")
def check():
    return dg.AssetCheckResult(passed=False, metadata={"examples": {ERASED_ID: ["name"]}})


@dg.asset
def clean_tickets(context):
    context.add_output_metadata({"first": ERASED_ID, "second": OTHER_ID})


def record(instance):
    job.execute_in_process(instance=instance, raise_on_error=False)
    dg.materialize([clean_tickets, check], instance=instance)


def dumped(instance, tmp_path):
    """Everything that is stored, as text; of files their bytes."""
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    text = files.decode("latin-1")
    log = instance.event_log_storage
    if hasattr(log, "postgres_url"):
        with log._engine.connect() as connection:
            for (table,) in connection.exec_driver_sql(
                "select tablename from pg_tables where schemaname = 'public'"
            ).fetchall():
                rows = connection.exec_driver_sql(f'select * from "{table}"')  # noqa: S608
                text += str(rows.fetchall())
    return text


@pytest.mark.slow
def test_nothing_names_them_any_more_and_the_rest_stays(instance, tmp_path):
    record(instance)
    before = dumped(instance, tmp_path)
    assert ERASED_ID in before
    assert ADDRESS in before
    others = before.count(OTHER_ID), before.count(OTHER_ADDRESS)

    planned = erase_from_history(instance, {ERASED_ID}, {ADDRESS}, dry_run=True)
    assert ERASED_ID in dumped(instance, tmp_path)
    changed = erase_from_history(instance, {ERASED_ID}, {ADDRESS})

    after = dumped(instance, tmp_path)
    assert changed == planned >= 5
    assert ERASED_ID not in after
    assert after.lower().replace(OTHER_ADDRESS, "").count(ADDRESS) == 0
    assert OTHER_ID in after
    assert OTHER_ADDRESS in after
    assert others[0] > 0 < others[1]
    runs = instance.get_runs()
    assert {run.job_name: run.status.value for run in runs}["job"] == "FAILURE"
    latest = instance.get_latest_materialization_event(dg.AssetKey("clean_tickets"))
    assert latest.asset_materialization.metadata["first"].value == "erased"
    assert latest.asset_materialization.metadata["second"].value == OTHER_ID
    assert erase_from_history(instance, {ERASED_ID}, {ADDRESS}) == 0


def test_nothing_is_changed_where_nothing_is_to_be_erased(instance, tmp_path):
    record(instance)

    assert erase_from_history(instance, set()) == 0
    assert erase_from_history(instance, {"1" * 20}, {"nobody@example.net"}) == 0
