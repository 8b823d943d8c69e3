"""The command that lists what people should look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.console import output, print_json
from ticket_assets.cli.start import CommandError, command_desk
from ticket_assets.plural import counted

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

app = typer.Typer()


@app.command(
    epilog="Examples: `tickets review`; `tickets review --csv monday.csv`, then fill its columns"
    " category and priority, and `tickets correct --file monday.csv`"
)
def review(
    days: Annotated[int, typer.Option(min=1, help="Days up to the latest mail.")] = 30,
    limit: Annotated[int, typer.Option(min=1, help="Tickets to show or write.")] = 20,
    csv: Annotated[
        Path | None,
        typer.Option(
            help="Write them to a new CSV, with columns to fill, instead of showing them."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the tickets that wait for a person, those first whose labels teach the most.

    Those are the ones of which the model is the least sure, and of which none says what another
    one before it said. Nothing is changed.
    """
    from ticket_assets.review_queue import review_queue, write_review_csv

    if csv and csv.exists():
        raise CommandError(f"{csv} is there already, and may hold your labels. Name another file.")
    tickets = review_queue(command_desk(), days)
    shown = tickets.head(limit)
    if csv:
        write_review_csv(shown, csv)
        output.print(f"{counted(len(shown), 'ticket')} in {csv}.", soft_wrap=True)
        output.print(
            f"Next: fill its columns category and priority, then tickets correct --file {csv}",
            soft_wrap=True,
        )
        return
    if as_json:
        print_json({"waiting": len(tickets), "tickets": shown.to_dict("records")})
        return
    output.print(
        f"{counted(len(tickets), 'ticket')} of the last {counted(days, 'day')} with mail"
        f" {'waits' if len(tickets) == 1 else 'wait'} for a person."
    )
    if len(shown):
        output.print(_table(shown))
        output.print(
            "Next: tickets correct TICKET --category NAME, or a table: tickets review --csv FILE"
        )


def _table(tickets: pd.DataFrame) -> Table:
    from rich.table import Table

    from ticket_assets.review_queue import beginning

    table = Table(box=None, pad_edge=False)
    for heading in ("ticket", "received", "why", "likely", "about"):
        table.add_column(heading, no_wrap=heading == "ticket")
    for ticket in tickets.to_dict("records"):
        table.add_row(
            ticket["ticket_id"],
            f"{ticket['received_at']:%Y-%m-%d}",
            ticket["reason"],
            ", ".join(ticket["likely"] or ["–"]),
            beginning(ticket["text"]),
        )
    return table
