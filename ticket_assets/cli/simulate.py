"""The command that tries other target precisions on the recent tickets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.console import output, print_json
from ticket_assets.cli.start import command_desk
from ticket_assets.plural import counted

if TYPE_CHECKING:
    from ticket_assets.simulation import Simulation

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
        typer.Option(min=0.8, max=0.99, help="Show what this target would do, label by label."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what other target precisions would have decided on the recent tickets; changes nothing.

    For targets from 0.80 to 0.99: how many tickets would have been automatic, how many of these
    right, what it would have saved (TICKETS_MINUTES_TO_SORT, TICKETS_MINUTES_PER_ERROR). Another
    one is set by TICKETS_TARGET_PRECISION, and holds from the next training on.
    """
    from ticket_assets import simulation

    simulated = simulation.simulate(command_desk(), days)
    if as_json:
        print_json(simulated.as_dict())
    else:
        print_simulation(simulated, precision)


def print_simulation(simulated: Simulation, precision: float | None) -> None:
    """Show each target, or one of them label by label."""
    from rich.table import Table

    output.print(
        f"{counted(simulated.tickets, 'ticket')} from {simulated.first_day} to"
        f" {simulated.last_day}, champion {simulated.model_version}",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    if precision is None:
        for heading in ("target", "automatic", "right of those", "to auto", "to review", "saved"):
            table.add_column(heading, justify="right")
        for target in simulated.targets:
            table.add_row(
                f"{'now ' if target.is_present else ''}{target.target_precision:.0%}",
                f"{target.share:.1%}",
                _with_interval(target.precision, target.low, target.high),
                f"{target.to_automatic:,}",
                f"{target.to_review:,}",
                f"{target.minutes_saved / 60:,.1f} h",
            )
    else:
        for heading in ("label", "tickets", "automatic", "right of those"):
            table.add_column(heading, justify="left" if heading == "label" else "right")
        nearest = min(simulated.targets, key=lambda one: abs(one.target_precision - precision))
        for label in nearest.labels:
            table.add_row(
                label.label,
                f"{label.tickets:,}",
                f"{label.automatic:,}",
                _with_interval(label.precision, None, None),
            )
    output.print(table)


def _with_interval(precision: float | None, low: float | None, high: float | None) -> str:
    if precision is None:
        return "–"
    return f"{precision:.1%}" + (f" ({low:.1%} to {high:.1%})" if low and high else "")
