"""The `tickets` command: sample mail, import, fetch, run, classify, status, models, erasure."""

from __future__ import annotations

import atexit
import gc
import json
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticket_assets.console import (
    StepProgress,
    output,
    print_erasure,
    print_error,
    print_markdown,
    print_measured,
    print_models,
    print_run,
    print_status,
    print_ticket,
    print_warning,
    progress_bar,
)
from ticket_assets.errors import TicketAssetsError
from ticket_assets.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Collection

    from ticket_assets.erasure import Erasure
    from ticket_assets.mail.back_off import Failure
    from ticket_assets.mail.importing import ImportReport
    from ticket_assets.mail.sources import SourceReport

app = typer.Typer(
    name="tickets",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Sort IT-support mail: category, priority and queue, or an honest "a person should look".

Settings are TICKETS_* variables or lines of `.env`; `.env.example` lists them all.""",
)
model_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="List, show and roll back the models."
)
app.add_typer(model_app, name="model")
EARLIEST_SAMPLE = date(2001, 1, 1)
"""A sample of the longest span still begins when dates of mail are believed."""
INTERRUPTED = 130
RUN_PATIENCE_SECONDS = 600.0
"""How long an erasure waits for runs that are at work."""


class CommandError(TicketAssetsError):
    """A command cannot be carried out as it was given."""


def main() -> None:
    """Run the command; an error meant for people is one line and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that is not UTF-8 shows what it can
            stream.reconfigure(errors="replace")
    _collect_garbage_seldom()
    try:
        app()
    except TicketAssetsError as error:
        print_error(str(error))
        sys.exit(1)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print_error(
            f"{error.strerror or error}{where}. Check the path, its permissions and the free"
            " space, then run the command again."
        )
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print_error("Interrupted. What was finished is kept; run the command again to go on.")
        raise


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

    settings = _settings()
    today = datetime.now(UTC).date()
    last_day = until.date() if until else today - timedelta(days=1)
    if not EARLIEST_SAMPLE <= last_day <= today:
        raise typer.BadParameter(f"--until goes from {EARLIEST_SAMPLE} to today ({today}, UTC).")
    mails = generate(
        messages=count,
        days=days,
        until=last_day,
        seed=settings.seed if seed is None else seed,
    )
    with progress_bar() as progress:
        task = progress.add_task("Writing the sample mailbox", total=count)
        files = write_mailbox(
            folder or settings.data_dir / "sample", mails, lambda: progress.advance(task)
        )
    output.print(
        f"{files.messages:,} messages in {files.mailbox}, {files.labelled:,} labels in"
        f" {files.labels}",
        soft_wrap=True,
    )
    output.print(f"Next: tickets import {files.mailbox} --labels {files.labels}", soft_wrap=True)


@app.command(
    "import",
    epilog="Examples: `tickets import ~/support.mbox --labels labels.csv`; "
    "`tickets import export.csv --column body=Description`; "
    "`tickets import export.csv --write-routing routing.yaml`",
)
def import_mail(
    path: Annotated[
        Path,
        typer.Argument(
            help="mbox, Maildir, folder of .eml, .eml, CSV, TSV, JSONL or Parquet, or a .zip or"
            " .tar.gz of them."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels in a file of their own: message_id, category, priority."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of an export, as in `body=Text`, instead of the setting's. Repeatable."
        ),
    ] = None,
    write_routing: Annotated[
        Path | None,
        typer.Option(help="Only write a routing file with the labels found, for you to complete."),
    ] = None,
) -> None:
    """Land a mailbox or an export, with the labels people gave where it has them.

    Nothing is landed twice; nothing is landed at all when a label is unknown.
    """
    from ticket_assets.mail.importing import has_columns, import_path
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.routing import load_routing

    settings = _settings()
    mapping = _column_mapping(column or [])
    if settings.column_mapping and has_columns(path):
        mapping = {**settings.column_mapping, **(mapping or {})}
    if write_routing is not None:
        _write_routing(path, labels, mapping, write_routing)
        return
    routing = load_routing(settings.routing)
    landing = LandingZone(settings.landing_dir)
    with progress_bar() as progress:
        task = progress.add_task("Landing messages", total=None)
        report = import_path(
            landing,
            path,
            categories=routing.categories,
            priorities=routing.priorities,
            column_mapping=mapping,
            labels_path=labels,
            first_day=settings.first_day,
            on_message=lambda _: progress.advance(task),
        )
    output.print(
        f"{report.landed:,} messages landed, {report.already_there:,} already there,"
        f" {report.labels:,} new labels."
    )
    if report.erased_before:
        print_warning(f"{report.erased_before:,} messages had been erased and do not land again.")
    if report.unresolved:
        print_warning(
            f"{report.unresolved:,} labels name a message that has not landed; they count once it"
            " has."
        )
    _note_doubts(report)
    if report.ignored:
        found = ", ".join(f"{count:,} {what}" for what, count in report.ignored.items())
        print_warning(f"Passed over in the archive: {found}.")
    if not any(landing.labels()):
        print_warning(
            "No labels have landed yet, and sorting is learnt from them: import them with --labels"
            " FILE, or say which column of an export holds them, like --column category=Queue."
        )
    if report.landed or report.labels:
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
) -> None:
    """Land the new mail of the sources in the settings: IMAP account, drop folder, Maildir.

    Nothing is marked as read or moved. A fetch that was interrupted goes on where it was; nothing
    is landed twice. The sensor new_mail does the same.
    """
    from ticket_assets.mail.back_off import DELAYS
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.mail.sources import Poll, poll_sources

    settings = _settings()
    sources = settings.mail_sources()
    if not sources:
        raise CommandError(
            "No mail source is set: set TICKETS_IMAP_HOST and TICKETS_IMAP_USER,"
            " TICKETS_DROP_FOLDER or TICKETS_MAILDIR, in the environment or in .env."
        )
    with progress_bar() as progress:
        task = progress.add_task("Fetching", total=None)
        poll = Poll(
            LandingZone(settings.landing_dir),
            settings.cursors_dir,
            max_messages=settings.imap_batch,
            first_day=settings.first_day,
            on_message=lambda _: progress.advance(task),
        )
        at_once: Collection[Failure] = DELAYS.keys() if now else {"outage"}
        reports = poll_sources(sources, poll, at_once)
    for report in reports:
        _print_source(report)
    if any(report.remaining for report in reports):
        output.print("Next: tickets fetch, for those that remain")
    elif any(report.landed or report.labels for report in reports):
        output.print("Next: tickets run")
    if any(report.error or report.waits_for or report.problems for report in reports):
        raise typer.Exit(1)


@app.command(
    epilog="Examples: `tickets run`; `tickets run --day 2026-11-20 --job classify_mail`; "
    "`tickets run --from 2026-11-01 --only ticket_predictions --only drift_report`"
)
def run(
    *,
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="This day (UTC) alone.")
    ] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="From this day.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="To this day.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this asset and its checks. Repeatable.")
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(help="Only this job: classify_mail sorts new mail without training."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what the run did as JSON, its times included.")
    ] = False,
) -> None:
    """Materialise every asset and evaluate every check, in one run; all days by default.

    What has not changed is not computed again. The run is visible in the Dagster UI.
    """
    if day is not None and (first is not None or last is not None):
        raise typer.BadParameter("--day goes without --from and --to.")
    if only and job:
        raise typer.BadParameter("--only goes without --job.")
    from ticket_assets.mail.landing import LandingZone

    settings = _settings()
    if not LandingZone(settings.landing_dir).days():
        raise CommandError(
            f"Nothing has landed in {settings.landing_dir.absolute()} yet. Import mail with"
            " `tickets import PATH`, or write some to try it out with `tickets sample`."
        )
    # Before Dagster: skops, which reads the model, searches all modules in the order of their
    # import for each of SciPy's functions, a second longer than when it finds SciPy first.
    import scipy.special  # noqa: F401

    from ticket_assets.defs.runs import materialise, materialise_all
    from ticket_assets.status import read_status

    start, end = (day or first), (day or last)
    first_day, last_day = (start.date() if start else None), (end.date() if end else None)
    with progress_bar() as progress:
        shown = StepProgress(progress)
        if only or job:
            summaries = [
                materialise(first_day, last_day, only or (), shown, shown.start, job_name=job)
            ]
        else:
            summaries = materialise_all(first_day, last_day, shown, shown.start)
    if as_json:
        _print_json({"runs": [asdict(summary) for summary in summaries]})
    else:
        for summary in summaries:
            print_run(summary)
    if not summaries[0].success:
        if len(summaries) > 1:
            print_warning("No candidate was promoted; the present champion has sorted the mail.")
        raise typer.Exit(1)
    if not as_json:
        print_status(read_status(settings), settings.landing_dir)


@app.command(
    epilog='Examples: `tickets classify "Impossible d\'ouvrir le VPN depuis ce matin"`; '
    "`tickets classify - --json < mail.txt`"
)
def classify(
    text: Annotated[str, typer.Argument(help="The text of a ticket, or `-` for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say category, priority, queue and confidence of a text, and the nearest past tickets."""
    from ticket_assets.mail.headers import decode_unlabelled
    from ticket_assets.triage import triage

    settings = _settings()
    ticket = triage(decode_unlabelled(sys.stdin.buffer.read()) if text == "-" else text, settings)
    if as_json:
        _print_json(ticket.as_dict())
    else:
        print_ticket(ticket)


@app.command(epilog="Example: `tickets status --json`")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what has landed, what the tables hold and how good the champion is."""
    from ticket_assets.status import read_status

    settings = _settings()
    found = read_status(settings)
    if as_json:
        _print_json(found)
    else:
        print_status(found, settings.landing_dir)


@app.command(
    epilog="Examples: `tickets erase --sender anne@example.org --dry-run`; "
    "`tickets erase --ticket 0123456789abcdef0123 --yes`"
)
def erase(
    sender: Annotated[
        list[str] | None, typer.Option(help="All mail from this address. Repeatable.")
    ] = None,
    ticket: Annotated[
        list[str] | None, typer.Option(help="The ticket with this id. Repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove a person's or a ticket's data everywhere, for good; it does not land again.

    Mail of others that quotes it stays, and so do the mailboxes and exports it came from. An
    erasure that was interrupted is completed by the same command.
    """
    if not sender and not ticket:
        raise typer.BadParameter("Name an address with --sender, or a ticket with --ticket.")
    from ticket_assets.erasure import erase as erase_tickets
    from ticket_assets.erasure import find_tickets

    settings = _settings()
    with progress_bar() as progress:
        task = progress.add_task("Reading senders", total=None)
        found = find_tickets(
            settings,
            sender or [],
            ticket or [],
            lambda read, total: progress.update(task, completed=read, total=total),
        )
    if dry_run:
        _show_erasure(erase_tickets(settings, found, dry_run=True), as_json, dry_run=True)
        return
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise CommandError("Nothing was erased: nobody can be asked here, so add --yes.")
        planned = erase_tickets(settings, found, dry_run=True)
        print_erasure(planned, dry_run=True)
        typer.confirm(f"Erase {planned.tickets:,} tickets for good?", abort=True)
    from ticket_assets.defs.runs import dagster_home
    from ticket_assets.defs.runs_in_progress import wait_for_runs

    dagster_home()
    with progress_bar() as progress:
        progress.add_task("Waiting for runs to end", total=None)
        if left := wait_for_runs(RUN_PATIENCE_SECONDS):
            raise CommandError(
                f"Nothing was erased: run {left[0]} is at work and may write the tickets again."
                " Wait until it has ended, or terminate it in the Dagster UI."
            )
        erasure = erase_tickets(settings, found)
        left = wait_for_runs(RUN_PATIENCE_SECONDS)
        # A run that began before the end may have written what it had read before.
        erasure += erase_tickets(settings, found)
    _show_erasure(erasure, as_json)
    if left:
        raise CommandError(
            f"Run {left[0]} began during the erasure and is still at work: give the same command"
            " again when it has ended."
        )


@app.command(epilog="Example: `TICKETS_RAW_MAIL_DAYS=365 tickets purge`")
def purge() -> None:
    """Remove original mail older than TICKETS_RAW_MAIL_DAYS; what was learnt from it stays.

    The schedule nightly_purge does the same. A day whose mail has not been processed is kept.
    """
    from ticket_assets.retention import purge as purge_mail

    purged = purge_mail(_settings())
    output.print(
        f"{purged.messages:,} original messages removed, {purged.rows:,} rows of raw_tickets"
        f" cleared; purged until {purged.until or 'no day yet'}.",
        soft_wrap=True,
    )
    if purged.waits_for:
        print_warning(
            f"{purged.waits_for} is old enough and has not been processed, so it and what comes"
            " after it stay: tickets run"
        )
    if purged.never_processed:
        print_warning(
            f"{purged.never_processed:,} of the messages had come too late to be processed."
        )


@model_app.command("list", epilog="Example: `tickets model list --json`")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the trained models, the oldest first, and say which one is in use."""
    from ticket_assets.classification.model_listing import list_models as listed
    from ticket_assets.classification.model_store import ModelStore

    models = listed(ModelStore(_settings().models_dir))
    if as_json:
        _print_json({"models": [asdict(model) for model in models]})
    else:
        print_models(models)


@model_app.command("show", epilog="Example: `tickets model show 0123456789ab`")
def show_model(
    version: Annotated[
        str | None, typer.Argument(help="Version to show; by default the champion.")
    ] = None,
) -> None:
    """Show a model's card: what it is, what it is worth, and its limits."""
    from ticket_assets.classification.model_store import ModelStore

    store = ModelStore(_settings().models_dir)
    print_markdown(store.card(version or store.require_champion().version))


@model_app.command("rollback", epilog="Example: `tickets model rollback`")
def roll_back_model() -> None:
    """Make the former champion the model in use again.

    The one taken back is not promoted again as it is: only another model, trained on other labels
    or with other settings, can follow.
    """
    from ticket_assets.classification.model_store import ModelStore

    store = ModelStore(_settings().models_dir)
    former = store.champion_name()
    champion = store.rollback()
    output.print(
        f"{champion.version} is the champion again, and {former} is taken back. Mail that comes in"
        " is sorted with it; what is sorted already is not.",
        soft_wrap=True,
    )
    output.print("Next: tickets run --only ticket_predictions", soft_wrap=True)


def _show_erasure(erasure: Erasure, as_json: bool, *, dry_run: bool = False) -> None:
    if as_json:
        _print_json({"dry_run": dry_run, **asdict(erasure)})
        return
    print_erasure(erasure, dry_run=dry_run)
    if erasure.champion in erasure.models:
        print_warning(
            f"The champion {erasure.champion} has learnt from"
            f" {erasure.models[erasure.champion]:,} of the tickets; `tickets run` trains one"
            " without them."
        )


@app.command(
    epilog="Examples: `tickets bench --quick`; `tickets bench --only mail --only job`; "
    "`tickets bench --tickets export.csv --category queue --priority urgency`"
)
def bench(
    *,
    only: Annotated[list[str] | None, typer.Option(help="Only this part. Repeatable.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: shows that it works, not what it costs.")
    ] = False,
    labelled: Annotated[
        Path | None,
        typer.Option("--tickets", help="Measure the quality on this labelled CSV instead."),
    ] = None,
    category: Annotated[str, typer.Option(help="Column of the category in it.")] = "category",
    priority: Annotated[
        str | None, typer.Option(help="Column of the priority in it, where it has one.")
    ] = None,
    subject: Annotated[str, typer.Option(help="Column of the subject in it.")] = "subject",
    body: Annotated[str, typer.Option(help="Column of the text in it.")] = "body",
) -> None:
    """Measure speed, memory and quality beside the usual tools, on this machine.

    Works in temporary folders and takes about an hour. Needs the extra `bench`, as `make bench`
    installs it.
    """
    settings = _settings()
    if labelled is not None:
        from ticket_assets.bench.quality import quality
        from ticket_assets.embedding.configured import configured_encoder

        with progress_bar() as progress:
            task = progress.add_task("Encoding", total=None)
            found = quality(
                labelled,
                configured_encoder(settings).encoder.encode,
                category=category,
                priority=priority,
                subject=subject,
                body=body,
                on_progress=lambda done: progress.update(task, description=done),
            )
        print_markdown(found.table())
        return
    from ticket_assets.bench.suite import PARTS, QUICK, Setup, Sizes
    from ticket_assets.bench.table import table
    from ticket_assets.defs.runs import dagster_home

    unknown = sorted(set(only or ()) - PARTS.keys())
    if unknown:
        raise typer.BadParameter(f"There is no part {unknown[0]}. Parts: {', '.join(PARTS)}.")
    setup = Setup(
        sizes=QUICK if quick else Sizes(),
        encoder=settings.encoder,
        encoders_dir=settings.encoders_dir,
        dagster_home=dagster_home(),
    )
    lines = []
    with progress_bar() as progress:
        task = progress.add_task("", total=len(only or PARTS))
        for name, part in PARTS.items():
            if only and name not in only:
                continue
            progress.update(task, description=f"Measuring: {name}")
            for line in part(setup):
                lines.append(line)
                print_measured(f"{line.part}: {line.figure}: {line.value}")
            progress.advance(task)
    output.print(table(lines))
    if any(line.met is False for line in lines):
        raise typer.Exit(1)


def _collect_garbage_seldom() -> None:
    """Spare the search through the many objects of the libraries, which stay to the end anyway."""
    gc.set_threshold(50_000, 20, 50)
    # The interpreter searches through them twice more at its end: 1.5 s after a run.
    atexit.register(gc.freeze)


def _print_json(content: dict[str, Any]) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2, default=str))


def _settings() -> Settings:
    settings = load_settings()
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        raise SettingsError(
            f"TICKETS_DATA_DIR={settings.data_dir} is not a folder. Name one; it need not exist."
        )
    return settings


def _print_source(report: SourceReport) -> None:
    for reason in filter(None, [report.error, *report.problems]):
        print_error(reason)
    if report.waits_for:
        print_error(
            f"{report.waits_for} It is tried again at {report.next_try:%Y-%m-%d %H:%M} UTC, or now"
            " with `tickets fetch --now`."
        )
    if report.error or report.waits_for:
        return
    labels = f", {report.labels:,} new labels" if report.labels else ""
    output.print(
        f"{report.name}: {report.landed:,} messages landed, {report.already_there:,} already"
        f" there{labels}, {report.remaining:,} remain.",
        soft_wrap=True,
    )
    _note_doubts(report)


def _note_doubts(report: ImportReport | SourceReport) -> None:
    from ticket_assets.mail.landing import LandingZone

    if report.undated:
        print_warning(
            f"{report.undated:,} messages have no date that can be read and are filed under today."
        )
    purged = LandingZone(load_settings().landing_dir).purged_until()
    if report.older and purged and min(report.days) <= purged:
        print_warning(
            f"{report.older:,} messages are older than the first processed day. The original mail"
            f" of the days until {purged} has been purged: theirs is not processed any more, and"
            " is kept for TICKETS_RAW_MAIL_DAYS days."
        )
    elif report.older:
        print_warning(
            f"{report.older:,} messages are older than the first processed day and wait. To have"
            f" them processed, set TICKETS_FIRST_DAY={min(report.days)} in .env and reload Dagster."
        )


def _column_mapping(pairs: list[str]) -> dict[str, str] | None:
    mapping = {}
    for pair in pairs:
        field, separator, column = pair.partition("=")
        if not separator or not field or not column:
            raise typer.BadParameter(f"--column takes FIELD=COLUMN, as in body=Text, not {pair!r}.")
        mapping[field.strip()] = column.strip()
    return mapping or None


def _write_routing(
    path: Path, labels: Path | None, mapping: dict[str, str] | None, target: Path
) -> None:
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
        f"{len(draft.queues)} categories written to {target}. Give each its queue, check that the"
        f" priorities go from the least to the most urgent, then set TICKETS_ROUTING={target} and"
        " import.",
        soft_wrap=True,
    )
