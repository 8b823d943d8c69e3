"""The nightly removal of old runs and models as Dagster sees it."""

import dagster as dg

from ticket_assets.desk import Desk
from ticket_assets.settings import Settings


def test_every_night_old_runs_and_models_go(product: dg.Definitions, settings: Settings):
    schedule = product.resolve_schedule_def("nightly_housekeeping")
    assert (schedule.job_name, schedule.cron_schedule) == ("housekeeping", "0 4 * * *")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    for number in range(12):
        Desk(settings).files.replace(f"models/{number:012x}/manifest.json", b"{}")

    with dg.DagsterInstance.ephemeral() as instance:
        done = product.resolve_job_def("housekeeping").execute_in_process(
            instance=instance, resources={"desk": Desk(settings)}
        )
        messages = [entry.user_message for entry in instance.all_logs(done.run_id)]

    assert done.success
    assert len(Desk(settings).models.names()) == settings.keep_models
    assert "2 models removed; 10 stay." in messages
    assert any(message.startswith("0 old runs with 0.0 MB of files") for message in messages)


def test_a_desk_without_models_is_none_to_prune(product: dg.Definitions, settings: Settings):
    with dg.DagsterInstance.ephemeral() as instance:
        done = product.resolve_job_def("housekeeping").execute_in_process(
            instance=instance, resources={"desk": Desk(settings)}
        )

    assert done.success
    assert not settings.data_dir.exists()
