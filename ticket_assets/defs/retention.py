"""purge_mail: removes original mail that is older than TICKETS_RAW_MAIL_DAYS, every night."""

import dagster as dg

from ticket_assets.defs.partitions import DESK
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.errors import TicketAssetsError
from ticket_assets.orchestration.living_runs import WAITS_FOR, wait_for_other_runs
from ticket_assets.plural import counted


class RunsAtWorkError(TicketAssetsError):
    """Other runs have not ended in time."""


@dg.op(
    description="Waits until the other runs that are at work have ended: one that still needs the"
    " original mail of an old day would fail.",
    out=dg.Out(dg.Nothing),
)
def wait_for_present_runs(context: dg.OpExecutionContext) -> None:
    at_work = wait_for_other_runs(
        context.instance,
        context.job_name,
        on_wait=lambda run: context.log.info(f"{WAITS_FOR}{run}."),
    )
    if at_work:
        raise RunsAtWorkError(
            f"Nothing was purged: {at_work[0]} is at work. The next night, or `tickets purge` when"
            " it has ended, does it."
        )


@dg.op(
    description="Removes the original mail of days older than TICKETS_RAW_MAIL_DAYS, and its whole"
    " texts in raw_tickets; masked texts, vectors, labels and predictions stay.",
    ins={"start": dg.In(dg.Nothing)},
    pool=WAREHOUSE_POOL,
)
def purge_original_mail(context: dg.OpExecutionContext, desk: dg.ResourceParam[Desk]) -> None:
    from ticket_assets.retention import purge

    purged = purge(desk)
    context.log.info(
        f"{counted(purged.messages, 'original message')} removed,"
        f" {counted(purged.rows, 'row')} of raw_tickets cleared;"
        f" purged until {purged.until or 'no day yet'}"
    )
    if purged.waits_for:
        context.log.warning(
            f"{purged.waits_for} is old enough and has not been processed: materialise it, or its"
            " mail and that of later days stays."
        )
    if purged.never_processed:
        context.log.warning(
            f"{counted(purged.never_processed, 'removed message')} had come too late to be"
            " processed."
        )


@dg.job(description="What retention demands: original mail goes after TICKETS_RAW_MAIL_DAYS days.")
def purge_mail() -> None:
    purge_original_mail(start=wait_for_present_runs())


nightly_purge = dg.ScheduleDefinition(
    name="nightly_purge",
    job=purge_mail,
    cron_schedule="30 2 * * *",
    execution_timezone="UTC",
    description="Purges original mail every night; runs where TICKETS_RAW_MAIL_DAYS is set.",
    default_status=dg.DefaultScheduleStatus.RUNNING
    if DESK.settings.raw_mail_days
    else dg.DefaultScheduleStatus.STOPPED,
)
