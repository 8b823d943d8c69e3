"""The nightly purge as Dagster sees it, and what a run does that comes too late for it."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from ticket_assets.defs.partitions import days, first_day
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import IncomingMessage, LandingError, LandingZone
from ticket_assets.mail.removal import mark_purged
from ticket_assets.settings import Settings

pytestmark = pytest.mark.slow

TODAY = datetime.now(UTC).date()


def test_the_schedule_stands_still_as_long_as_nothing_is_to_be_purged(product: dg.Definitions):
    schedule = product.resolve_schedule_def("nightly_purge")

    assert (schedule.job_name, schedule.cron_schedule) == ("purge_mail", "30 2 * * *")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_the_job_purges_and_says_which_day_waits(product: dg.Definitions, settings: Settings):
    settings = settings.model_copy(update={"raw_mail_days": 10, "first_day": None})
    long_ago = datetime.combine(TODAY - timedelta(days=30), datetime.min.time(), UTC)
    LandingZone(settings.landing_dir).land(
        [IncomingMessage(b"Subject: x\n\ny", "eml", "test", long_ago, "date", None)]
    )

    result = product.resolve_job_def("purge_mail").execute_in_process(
        resources={"desk": Desk(settings)}
    )

    assert result.success
    assert LandingZone(settings.landing_dir).days() == [long_ago.date()]


def test_the_first_processed_day_comes_after_the_last_purged_one(settings: Settings):
    assert first_day(Desk(settings)) == date(2025, 6, 1)

    settings.landing_dir.mkdir(parents=True)
    mark_purged(LandingZone(settings.landing_dir), date(2025, 7, 1))

    assert first_day(Desk(settings)) == date(2025, 7, 2)


def test_a_run_that_still_knows_a_purged_day_is_refused_it(settings: Settings):
    context = dg.build_asset_context(
        partition_key="2025-07-01",
        resources={"desk": Desk(settings)},
    )

    @dg.asset(
        partitions_def=dg.DailyPartitionsDefinition("2025-06-01"),
        required_resource_keys={"desk"},
    )
    def daily(context: dg.AssetExecutionContext) -> None:
        days(context)

    daily(context)
    settings.landing_dir.mkdir(parents=True)
    mark_purged(LandingZone(settings.landing_dir), date(2025, 7, 1))

    with pytest.raises(LandingError, match="mail of 2025-07-01 has been purged"):
        daily(context)
