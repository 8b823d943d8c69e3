"""The command that tries other target precisions on the recent tickets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.console import output, print_json
from ticket_assets.cli.start import command_desk
from ticket_assets.plural import counted

if TYPE_CHECKING:
    from rich.table import Table

    from ticket_assets.simulation import SimulatedTarget, Simulation

app = typer.Typer()


@app.command(
    epilog="Examples: `tickets simulate`; `tickets simulate --days 30 --precision 0.9`; "
    "`tickets simulate --json`"
)
def simulate(
    days: Annotated[
        int | None,
        typer.Option(
            min=1, help="Days up to the latest mail; TICKETS_SIMULATION_DAYS (90) by default."
        ),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            min=0.8,
            max=0.99,
            help="Show this target label by label; with --json, which tickets would change.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what other target precisions would do with mail like the recent; changes nothing.

    For targets from 0.80 to 0.99: how many tickets would be automatic, how many of these right, and
    what that saves and costs in 30 days (TICKETS_MINUTES_TO_SORT, TICKETS_MINUTES_PER_ERROR), each
    with the interval that holds it in 90 % of the cases; and how many recent tickets would have
    been decided otherwise than they are. Tickets that the model has learnt from count as one that
    has not learnt them predicts them; those with a person's label would change nothing. Another
    target is set by TICKETS_TARGET_PRECISION, and holds from the next training on.
    """
    from ticket_assets import simulation

    simulated = simulation.simulate(command_desk(), days)
    target = None if precision is None else simulated.nearest(precision)
    if as_json:
        print_json(
            simulated.as_dict()
            if target is None
            else {**target.as_dict(), "changed": target.changed}
        )
        return
    output.print(
        f"{counted(simulated.tickets, 'ticket')} from {simulated.first_day} to"
        f" {simulated.last_day}, {simulated.labelled:,} of them with a person's label; champion"
        f" {simulated.model_version}",
        soft_wrap=True,
    )
    output.print(targets_table(simulated) if target is None else labels_table(target))


def targets_table(simulated: Simulation) -> Table:
    """A row for each target."""
    from ticket_assets.simulation_view import TARGET_HEADINGS, target_cells

    table = _table(*TARGET_HEADINGS)
    for target in simulated.targets:
        name = f"{'now ' if target.is_present else ''}{target.target_precision * 100:g}%"
        table.add_row(name, *target_cells(target.mail))
    return table


def labels_table(target: SimulatedTarget) -> Table:
    """A row for each label at one target."""
    from ticket_assets.simulation_view import interval_text

    table = _table("label", "tickets", "automatic", "right of those", "to auto", "to review")
    table.title = f"At {target.target_precision * 100:g}%"
    table.columns[0].justify = "left"
    for mail in (*target.labels, target.mail):
        table.add_row(
            mail.label or "all",
            f"{mail.tickets:,}",
            interval_text(mail.share, mail.share_low, mail.share_high),
            interval_text(mail.precision, mail.precision_low, mail.precision_high),
            f"{mail.to_automatic:,}",
            f"{mail.to_review:,}",
        )
    return table


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
