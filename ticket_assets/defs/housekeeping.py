"""housekeeping: removes old runs and models that nobody needs, every night."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from ticket_assets.desk import Desk
from ticket_assets.orchestration.pruning import prune_runs
from ticket_assets.plural import counted


@dg.op(
    description="Removes runs that ended more than TICKETS_KEEP_RUNS_DAYS days ago, but for those"
    " that hold the latest state of an asset's day."
)
def prune_old_runs(context: dg.OpExecutionContext, desk: dg.ResourceParam[Desk]) -> None:
    before = datetime.now(UTC) - timedelta(days=desk.settings.keep_runs_days)
    context.log.info(f"{prune_runs(context.instance, before)}.")


@dg.op(
    description="Removes models that were never promoted or were rolled back, but for the newest"
    " TICKETS_KEEP_MODELS.",
)
def prune_old_models(context: dg.OpExecutionContext, desk: dg.ResourceParam[Desk]) -> None:
    if not desk.has_models:
        context.log.info("There is no model yet.")
        return
    from ticket_assets.classification.promotion import superfluous_models

    with desk.changing_models():
        superfluous = superfluous_models(desk.models, desk.settings.keep_models)
        desk.models.remove(superfluous)
    context.log.info(
        f"{counted(len(superfluous), 'model')} removed; {len(desk.models.names()):,} stay."
    )


@dg.op(description="Removes files that processes which died have left unfinished.")
def remove_unfinished_files(context: dg.OpExecutionContext, desk: dg.ResourceParam[Desk]) -> None:
    context.log.info(f"{counted(len(desk.remove_unfinished()), 'unfinished file')} removed.")


@dg.op(
    description="Merges the small files of a shared warehouse and removes those of former states.",
)
def tidy_warehouse(desk: dg.ResourceParam[Desk]) -> None:
    desk.warehouse.tidy()


@dg.job(description="Keeps the disk free of what nobody needs any more.")
def housekeeping() -> None:
    prune_old_runs()
    prune_old_models()
    remove_unfinished_files()
    tidy_warehouse()


nightly_housekeeping = dg.ScheduleDefinition(
    name="nightly_housekeeping",
    job=housekeeping,
    cron_schedule="0 4 * * *",
    execution_timezone="UTC",
    description="Removes old runs and models every night.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
