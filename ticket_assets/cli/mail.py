"""The commands that bring mail in: sample, import, fetch."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.columns import Columns, column_mapping
from ticket_assets.cli.console import output, print_error, print_warning, progress_bar
from ticket_assets.cli.start import AcceptClock, AcceptSettings, CommandError, command_desk
from ticket_assets.clock import refuse_early_clock
from ticket_assets.plural import counted
from ticket_assets.settings import DateOrder

if TYPE_CHECKING:
    from collections.abc import Collection

    from ticket_assets.mail.back_off import Failure
    from ticket_assets.mail.importing import ImportReport
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.mail.sources import SourceReport

app = typer.Typer()
EARLIEST_SAMPLE = date(2001, 1, 1)
"""The longest sample then still begins after the earliest date that is believed of a mail."""


@app.command(epilog="Example: `tickets sample data/sample --messages 500 --days 20`")
def sample(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to write; by default `sample` in the data folder.")
    ] = None,
    count: Annotated[
        int, typer.Option("--messages", min=50, max=1_000_000, help="Messages to write.")
    ] = 3000,
    days: Annotated[int, typer.Option(min=14, max=3650, help="Days they are spread over.")] = 60,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day; by default yesterday (UTC)."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Same seed, same mailbox; by default TICKETS_SEED."),
    ] = None,
) -> None:
    """Write a believable French and English support mailbox, with the labels people gave."""
    from ticket_assets.sample.mailbox import generate, write_mailbox

    desk = command_desk(checked=False)
    today = datetime.now(UTC).date()
    last_day = until.date() if until else today - timedelta(days=1)
    if not EARLIEST_SAMPLE <= last_day <= today:
        raise typer.BadParameter(f"--until goes from {EARLIEST_SAMPLE} to today ({today}, UTC).")
    mails = generate(
        messages=count,
        days=days,
        until=last_day,
        seed=desk.settings.seed if seed is None else seed,
    )
    with progress_bar() as progress:
        task = progress.add_task("Writing the sample mailbox", total=count)
        files = write_mailbox(
            folder or desk.folder / "sample", mails, lambda: progress.advance(task)
        )
    output.print(
        f"{counted(files.messages, 'message')} in {files.mailbox},"
        f" {counted(files.labelled, 'label')} in {files.labels}",
        soft_wrap=True,
    )
    output.print(f"Next: tickets import {files.mailbox} --labels {files.labels}", soft_wrap=True)


@app.command(
    "import",
    epilog="Examples: `tickets import ~/support.mbox --labels labels.csv`; "
    "`tickets import export.csv --column body=Description`; "
    "`tickets import export.csv --write-routing routing.yaml`",
)
def import_mail(  # noqa: PLR0917  # options
    path: Annotated[
        Path,
        typer.Argument(
            help="mbox, Maildir, folder of .eml, .eml, CSV, TSV, .xlsx, JSONL or Parquet, or a"
            " .zip or .tar.gz of them."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels in a file of their own: message_id, category, priority."),
    ] = None,
    column: Columns = None,
    dates: Annotated[
        DateOrder | None,
        typer.Option(
            help="What stands first in the dates of a table that could be read both ways, like"
            " 03/04/2026, instead of the setting's."
        ),
    ] = None,
    write_routing: Annotated[
        Path | None,
        typer.Option(help="Only write a routing file with the labels found, for you to complete."),
    ] = None,
    accept_settings: AcceptSettings = False,
    accept_clock: AcceptClock = False,
) -> None:
    """Land a mailbox or an export, with the labels people gave where it has them.

    Nothing is landed twice; nothing is landed at all when a label is unknown.
    """
    from ticket_assets.classification.evidence import evidence_text, labels_needed
    from ticket_assets.mail.importing import has_columns, import_path

    desk = command_desk(checked=False, routed=write_routing is None)
    mapping = column_mapping(column)
    if desk.settings.column_mapping and has_columns(path):
        mapping = {**desk.settings.column_mapping, **mapping}
    if write_routing is not None:
        _write_routing(path, labels, mapping, write_routing)
        return
    if not accept_settings:
        desk.require_same_settings()
    routing = desk.routing
    landing = desk.landing
    if not accept_clock:
        refuse_early_clock(landing, *(file for file in (path, labels) if file and file.exists()))
    desk.remove_unfinished()
    with progress_bar() as progress:
        task = progress.add_task("Landing messages", total=None)
        report = import_path(
            landing,
            path,
            categories=routing.categories,
            priorities=routing.priorities,
            column_mapping=mapping,
            date_order=dates or desk.settings.export_dates,
            labels_path=labels,
            first_day=desk.settings.first_day,
            on_message=lambda _: progress.advance(task),
        )
    desk.record_settings(accept=accept_settings)
    output.print(
        f"{counted(report.landed, 'message')} landed, {report.already_there:,} already there,"
        f" {counted(report.labels, 'new label')}."
    )
    if report.labels:
        copies = (
            f", {report.copies:,} of them as another form of a labelled message"
            if report.copies
            else ""
        )
        output.print(f"{counted(report.labelled, 'ticket')} with a label now{copies}.")
        needed = labels_needed(desk.settings.target_precision, desk.settings.precision_risk)
        labelled = {name: report.labelled_by_category.get(name, 0) for name in routing.categories}
        output.print(evidence_text(labelled, needed), soft_wrap=True)
    if report.healed:
        print_warning(
            f"{counted(report.healed, 'damaged original')} replaced by the mail that had landed."
        )
    if report.erased_before:
        print_warning(
            f"{counted(report.erased_before, 'message')} had been erased and will not land again."
        )
    if report.unresolved:
        print_warning(
            f"{counted(report.unresolved, 'label')} of messages that have not landed will count"
            " once they have."
        )
    _note_doubts(report, landing)
    if report.ignored:
        ignored = ", ".join(f"{kind}: {count:,}" for kind, count in report.ignored.items())
        print_warning(f"Passed over in {path}: {ignored}.")
    if not any(landing.labels()):
        print_warning(
            "No labels have landed yet, and sorting is learnt from them: import them with --labels"
            " FILE, or say which column of an export holds them, like --column category=Queue."
        )
    if report.landed or report.labels or report.healed:
        output.print("Next: tickets run")


@app.command(
    epilog="Examples: `TICKETS_DROP_FOLDER=inbox tickets fetch`; "
    "`TICKETS_IMAP_HOST=imap.example.org TICKETS_IMAP_USER=desk "
    "TICKETS_IMAP_PASSWORD_FILE=password tickets fetch`"
)
def fetch(
    now: Annotated[
        bool, typer.Option("--now", help="Also log in again where the last login was refused.")
    ] = False,
    accept_settings: AcceptSettings = False,
    accept_clock: AcceptClock = False,
) -> None:
    """Land the new mail of the sources in the settings: IMAP account, drop folder, Maildir.

    Nothing is marked as read or moved. A fetch that was interrupted goes on where it was; nothing
    is landed twice. The sensor new_mail does the same.
    """
    from ticket_assets.mail.back_off import DELAYS
    from ticket_assets.mail.sources import Poll, poll_sources

    desk = command_desk(checked=False)
    sources = desk.sources
    if not sources:
        raise CommandError(
            "No mail source is set: set TICKETS_IMAP_HOST and TICKETS_IMAP_USER,"
            " TICKETS_DROP_FOLDER or TICKETS_MAILDIR, in the environment or in .env."
        )
    if not accept_settings:
        desk.require_same_settings()
    landing = desk.landing
    if not accept_clock:
        refuse_early_clock(landing)
    desk.remove_unfinished()
    with progress_bar() as progress:
        task = progress.add_task("Fetching", total=None)
        poll = Poll(
            landing,
            desk.cursors,
            desk.leases,
            max_messages=desk.settings.imap_batch,
            first_day=desk.settings.first_day,
            on_message=lambda _: progress.advance(task),
        )
        at_once: Collection[Failure] = DELAYS.keys() if now else {"outage"}
        reports = poll_sources(sources, poll, at_once)
    desk.record_settings(accept=accept_settings)
    for report in reports:
        _print_source(report, landing)
    if any(report.remaining for report in reports):
        output.print("Next: tickets fetch, for those that remain")
    elif any(report.landed or report.labels for report in reports):
        output.print("Next: tickets run")
    if any(report.error or report.waits_for or report.refusals for report in reports):
        raise typer.Exit(1)


def _print_source(report: SourceReport, landing: LandingZone) -> None:
    for reason in filter(None, [report.error, *report.refusals]):
        print_error(reason)
    if report.waits_for:
        print_error(
            f"{report.waits_for} It is tried again at {report.next_try:%Y-%m-%d %H:%M} UTC, or now"
            " with `tickets fetch --now`."
        )
    if report.error or report.waits_for:
        return
    labels = f", {counted(report.labels, 'new label')}" if report.labels else ""
    output.print(
        f"{report.name}: {counted(report.landed, 'message')} landed,"
        f" {report.already_there:,} already there{labels}, {report.remaining:,} to come.",
        soft_wrap=True,
    )
    for note in report.early_labels:
        print_warning(note)
    _note_doubts(report, landing)


@app.command(
    epilog="Examples: `tickets redate --dry-run`; `tickets redate --day 2023-05-04`; then"
    " `tickets run`"
)
def redate(
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Only mail under this day; by default under any day."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would get another day.")
    ] = False,
) -> None:
    """Give mail that landed while this machine's clock was behind the day of its own date.

    Its date lay ahead then and was not believed, so that it was filed under the day it landed. Rows
    of exports stay: only the export says which column held their date.
    """
    from ticket_assets.mail.redating import misdated_mail, redate
    from ticket_assets.mail.removal import removing

    desk = command_desk(checked=False)
    landing = desk.landing
    refuse_early_clock(landing)
    days = [found for found in landing.days() if day is None or found == day.date()]
    with progress_bar() as progress:
        task = progress.add_task("Reading dates", total=sum(landing.counts(days).values()))
        mails = list(misdated_mail(landing, days, lambda: progress.advance(task)))
    if mails and not dry_run:
        with removing(landing, desk.leases), progress_bar() as progress:
            task = progress.add_task("Giving mail its day", total=len(mails))
            redate(landing, mails, lambda: progress.advance(task))
    for former, its_mails in groupby(mails, lambda mail: mail.name.partition("/")[0]):
        own_days = [mail.dated.received_at.date() for mail in its_mails]
        output.print(
            f"{counted(len(own_days), 'message')} from {former} to the days of"
            f" {min(own_days)} to {max(own_days)}."
        )
    if not mails:
        output.print("No mail lies under a wrong day.")
    else:
        output.print("Nothing is changed yet." if dry_run else "Next: tickets run")


def _note_doubts(report: ImportReport | SourceReport, landing: LandingZone) -> None:
    for table in report.tables:
        if table.finding:
            output.print(table.finding, soft_wrap=True)
        for warning in table.warnings:
            print_warning(warning)
    if report.undated:
        print_warning(
            f"{counted(report.undated, 'message')} without a date that can be read: filed under"
            " today."
        )
    purged = landing.purged_until()
    if report.older and purged and min(report.days) <= purged:
        print_warning(
            f"{counted(report.older, 'message')} from before the first processed day. The original"
            f" mail of the days until {purged} has been purged: theirs is not processed any more,"
            " and is kept for TICKETS_RAW_MAIL_DAYS days."
        )
    elif report.older:
        print_warning(
            f"{counted(report.older, 'message')} from before the first processed day must wait. To"
            f" have such mail processed, set TICKETS_FIRST_DAY={min(report.days)} in .env and"
            " reload Dagster."
        )


def _write_routing(path: Path, labels: Path | None, mapping: dict[str, str], target: Path) -> None:
    import yaml

    from ticket_assets.mail.importing import draft_routing

    if target.exists():
        raise CommandError(f"{target} exists already; it is not overwritten. Name another file.")
    draft = draft_routing(path, mapping, labels)
    content = {
        "categories": {name: {"queue": queue} for name, queue in draft.queues.items()},
        "priorities": list(draft.priorities),
        "review_queue": draft.review_queue,
    }
    target.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), "utf-8")
    output.print(
        f"{counted(len(draft.queues), 'category', 'categories')} written to {target}. Give each"
        " its queue, check that the priorities go from the least to the most urgent, then set"
        f" TICKETS_ROUTING={target} and import.",
        soft_wrap=True,
    )
