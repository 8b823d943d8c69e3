"""The `tickets` command: sample mail, import, fetch, run, classify, status."""

from __future__ import annotations

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
    print_error,
    print_run,
    print_status,
    print_ticket,
    print_warning,
    progress_bar,
)
from ticket_assets.errors import TicketAssetsError
from ticket_assets.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from ticket_assets.mail.imap import FetchReport
    from ticket_assets.mail.importing import ImportReport

app = typer.Typer(
    name="tickets",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Sort IT-support mail: category, priority and queue, or an honest "a person should look".

Settings are TICKETS_* variables or lines of `.env`; `.env.example` lists them all.""",
)
EARLIEST_SAMPLE = date(2001, 1, 1)
"""A sample of the longest span still begins when dates of mail are believed."""
INTERRUPTED = 130


class CommandError(TicketAssetsError):
    """A command cannot be carried out as it was given."""


def main() -> None:
    """Run the command; an error meant for people is one line and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that is not UTF-8 shows what it can
            stream.reconfigure(errors="replace")
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
        typer.Option(help="Column of an export, as in `body=Description`. Repeatable."),
    ] = None,
    write_routing: Annotated[
        Path | None,
        typer.Option(help="Only write a routing file with the labels found, for you to complete."),
    ] = None,
) -> None:
    """Land a mailbox or an export, with the labels people gave where it has them.

    Nothing is landed twice; nothing is landed at all when a label is unknown.
    """
    from ticket_assets.mail.importing import import_path
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.routing import load_routing

    settings = _settings()
    mapping = _column_mapping(column or [])
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
    epilog="Examples: `tickets fetch`; "
    "`TICKETS_IMAP_HOST=imap.example.org TICKETS_IMAP_USER=desk "
    "TICKETS_IMAP_PASSWORD_FILE=password tickets fetch`"
)
def fetch() -> None:
    """Land the new mail of the IMAP account in the settings; nothing is marked as read.

    A fetch that was interrupted goes on where it was; nothing is landed twice.
    """
    from ticket_assets.mail.imap import fetch_new
    from ticket_assets.mail.landing import LandingZone

    settings = _settings()
    account = settings.imap_account()
    with progress_bar() as progress:
        task = progress.add_task(f"Fetching from {account.host}", total=None)
        report = fetch_new(
            LandingZone(settings.landing_dir),
            account,
            settings.cursors_dir,
            max_messages=settings.imap_batch,
            on_message=lambda _: progress.advance(task),
            first_day=settings.first_day,
        )
    output.print(
        f"{report.landed:,} messages landed, {report.already_there:,} already there,"
        f" {report.remaining:,} remain on {account.host}."
    )
    _note_doubts(report)
    if report.remaining:
        output.print("Next: tickets fetch, for those that remain")
    elif report.landed:
        output.print("Next: tickets run")


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
    from ticket_assets.defs.runs import WHOLE_GRAPH, materialise, materialise_all
    from ticket_assets.status import read_status

    start, end = (day or first), (day or last)
    first_day, last_day = (start.date() if start else None), (end.date() if end else None)
    with progress_bar() as progress:
        shown = StepProgress(progress)
        if only or job:
            summaries = [
                materialise(
                    first_day, last_day, only or (), shown, shown.start, job_name=job or WHOLE_GRAPH
                )
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


def _print_json(content: dict[str, Any]) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2, default=str))


def _settings() -> Settings:
    settings = load_settings()
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        raise SettingsError(
            f"TICKETS_DATA_DIR={settings.data_dir} is not a folder. Name one; it need not exist."
        )
    return settings


def _note_doubts(report: ImportReport | FetchReport) -> None:
    if report.undated:
        print_warning(
            f"{report.undated:,} messages have no date that can be read and are filed under today."
        )
    if report.older:
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
