"""The command `tickets correct`: what a person says of tickets that are there."""

from __future__ import annotations

import getpass
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.console import output, print_error, print_warning
from ticket_assets.cli.start import AcceptClock, CommandError, command_desk
from ticket_assets.clock import refuse_early_clock
from ticket_assets.plural import counted
from ticket_assets.settings import DateOrder

if TYPE_CHECKING:
    from ticket_assets.desk import Desk
    from ticket_assets.mail.labels import LabelSet

app = typer.Typer()


@app.command(
    epilog="Examples: `tickets correct 3f2a90c1b7d84e55a610 --category network`; "
    "`tickets correct '<4711@example.org>' --priority high`; "
    "`tickets correct --file corrections.csv`"
)
def correct(  # noqa: PLR0917  # options
    ticket: Annotated[
        str | None,
        typer.Argument(help="Its ticket_id, as in ticket_predictions, or its mail's Message-ID."),
    ] = None,
    category: Annotated[str | None, typer.Option(help="The category that it belongs to.")] = None,
    priority: Annotated[str | None, typer.Option(help="The priority that it has.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Who says so; by default the name of your account.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="A table of corrections instead: ticket_id or message_id, with category, priority"
            " or both; labelled_by and labelled_at if it has them. CSV, TSV, .xlsx, JSONL, Parquet."
        ),
    ] = None,
    dates: Annotated[
        DateOrder | None,
        typer.Option(help="What stands first in its dates, if they could be read both ways."),
    ] = None,
    accept_clock: AcceptClock = False,
) -> None:
    """Say what a ticket is: its category, its priority or both. The latest word of people holds.

    No mail is changed, and every correction is kept with its date and who said it. Rows of a table
    that cannot be taken are named with the reason; the others count. A table in the drop folder
    does the same.
    """
    if (ticket is None) == (file is None):
        raise CommandError(
            "Name a ticket, or a table of corrections with --file, as in: tickets correct"
            " 3f2a90c1b7d84e55a610 --category network"
        )
    if ticket is not None and not (category or priority):
        raise CommandError("Say what the ticket is: --category, --priority or both.")
    if file is not None and (category or priority or by):
        raise CommandError("--category, --priority and --by are of one ticket, not of --file.")
    from ticket_assets.mail.corrections import land_correction
    from ticket_assets.mail.labels import LabelSet, ticket_name
    from ticket_assets.mail.landing import Label

    desk = command_desk()
    if not accept_clock:
        refuse_early_clock(desk.landing, *([file] if file and file.exists() else []))
    allowed = LabelSet(
        desk.routing.categories, desk.routing.priorities, desk.landing.former_categories()
    )
    if file is not None:
        _correct_table(desk, allowed, file, dates)
        return
    named = ticket_name(ticket)
    label = Label(category, priority, datetime.now(UTC), by or _account(), *named)
    tickets = land_correction(desk.landing, label, allowed)
    (matched,) = allowed.matched([label])
    said = ", ".join(filter(None, [matched.category, matched.priority]))
    copies = f" ({counted(tickets, 'ticket')} of this message)" if tickets > 1 else ""
    output.print(f"{ticket}{copies}: {said}, says {label.labelled_by}.", soft_wrap=True)
    output.print("Next: tickets run")


def _account() -> str:
    """The name of the account; a container's user may have none."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return "tickets correct"


def _correct_table(desk: Desk, allowed: LabelSet, file: Path, dates: DateOrder | None) -> None:
    from ticket_assets.mail.corrections import land_corrections, open_corrections
    from ticket_assets.mail.input_files import InputFile

    table = open_corrections(InputFile(file), date_order=dates or desk.settings.export_dates)
    if table is None:
        raise CommandError(
            f"{file} is no table of corrections: expected a column ticket_id or message_id, one"
            " of category or priority, and no text. `tickets import` takes a table of tickets."
        )
    report = land_corrections(desk.landing, table, allowed)
    output.print(
        f"{counted(report.taken, 'correction')} taken, {report.landed:,} of them new.",
        soft_wrap=True,
    )
    if report.waiting:
        print_warning(report.waiting)
    if report.landed:
        output.print("Next: tickets run")
    if report.refusal:
        print_error(f"{file}: {report.refusal}")
        raise typer.Exit(1)
