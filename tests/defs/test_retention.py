"""The nightly purge as Dagster sees it, and what a run does that comes too late for it."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from tests.days import days_ago
from ticket_assets.defs.partitions import first_day, unpurged_days
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import PURGED_UNTIL, IncomingMessage, LandingError
from ticket_assets.mail.removal import mark_purged
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.orchestration.living_runs import presence
from ticket_assets.orchestration.runs import materialise
from ticket_assets.settings import Settings

pytestmark = pytest.mark.slow


def test_the_schedule_stands_still_as_long_as_nothing_is_to_be_purged(product: dg.Definitions):
    schedule = product.resolve_schedule_def("nightly_purge")

    assert (schedule.job_name, schedule.cron_schedule) == ("purge_mail", "30 2 * * *")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_the_job_purges_and_says_which_day_waits(product: dg.Definitions, settings: Settings):
    settings = settings.model_copy(update={"raw_mail_days": 10, "first_day": None})
    long_ago = datetime.combine(days_ago(30), datetime.min.time(), UTC)
    Desk(settings).landing.land(
        [IncomingMessage(b"Subject: x\n\ny", "eml", "test", long_ago, "date", None)]
    )

    result = product.resolve_job_def("purge_mail").execute_in_process(
        resources={"desk": Desk(settings)}
    )

    assert result.success
    assert Desk(settings).landing.days() == [long_ago.date()]


@dg.job
def at_work() -> None:
    pass


def test_the_job_waits_for_the_runs_that_are_at_work(
    product: dg.Definitions, settings: Settings, instance: dg.DagsterInstance
):
    settings = settings.model_copy(update={"raw_mail_days": 10})
    run = instance.create_run_for_job(at_work, status=dg.DagsterRunStatus.STARTED)

    def says_that_it_waits() -> bool:
        return any(
            f"Waits for run {run.run_id[:8]} " in entry.user_message
            for purge in instance.get_runs(dg.RunsFilter(job_name="purge_mail"))
            for entry in instance.all_logs(purge.run_id)
        )

    with presence(instance, run.run_id), ThreadPoolExecutor(1) as threads:
        purge = threads.submit(
            product.resolve_job_def("purge_mail").execute_in_process,
            instance=instance,
            resources={"desk": Desk(settings)},
        )
        while not says_that_it_waits():
            assert not purge.done()
            time.sleep(0.05)
        assert not purge.done()
        instance.report_run_canceled(run)
        result = purge.result()

    assert result.success
    steps = [event.step_key for event in result.get_step_success_events()]
    assert steps == ["wait_for_present_runs", "purge_original_mail"]


def test_the_first_processed_day_does_not_move_with_purges(settings: Settings):
    mark_purged(Desk(settings).landing, date(2025, 7, 1))

    assert first_day(Desk(settings)) == date(2025, 6, 1)


def test_a_run_of_all_days_begins_after_the_purged_ones(product_settings: Settings):
    landing = Desk(product_settings).landing
    landing.files.folder.mkdir(parents=True, exist_ok=True)
    mark_purged(landing, days_ago(2))
    try:
        summary = materialise(assets=["raw_tickets"])
        with desk_instance(product_settings.data_dir) as instance:
            tags = instance.get_run_by_id(summary.run_id).tags
    finally:
        (landing.files.folder / PURGED_UNTIL).unlink()

    assert summary.success
    assert tags["dagster/asset_partition_range_start"] == str(days_ago(1))


def test_what_is_made_from_whole_texts_is_refused_a_purged_day_by_name(settings: Settings):
    context = dg.build_asset_context(
        partition_key="2025-07-01",
        resources={"desk": Desk(settings)},
    )

    @dg.asset(
        partitions_def=dg.DailyPartitionsDefinition("2025-06-01"),
        required_resource_keys={"desk"},
    )
    def daily(context: dg.AssetExecutionContext) -> None:
        unpurged_days(context)

    daily(context)
    mark_purged(Desk(settings).landing, date(2025, 7, 1))

    with pytest.raises(LandingError, match="mail of 2025-07-01 has been purged"):
        daily(context)
