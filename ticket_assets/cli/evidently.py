"""The command that serves Evidently's UI on the drift reports."""

from __future__ import annotations

from typing import Annotated

import typer

from ticket_assets.cli.console import output, print_warning
from ticket_assets.cli.start import command_desk
from ticket_assets.plural import counted

app = typer.Typer()


@app.command(epilog="Example: `tickets evidently`")
def evidently(
    host: Annotated[
        str, typer.Option(help="Address of this machine to listen on; 0.0.0.0 is all of them.")
    ] = "127.0.0.1",
) -> None:
    """Serve Evidently's UI on http://127.0.0.1:3002: drift and quality over all days, and each day.

    TICKETS_EVIDENTLY_URL gives it another address. It shows the drift reports as they come, for
    reading only, and needs no network. Ctrl-C ends it.
    """
    from ticket_assets.drift.evidently_server import (
        Workspace,
        dashboard_address,
        evidently_socket,
        serve_evidently,
    )

    desk = command_desk()
    base = desk.settings.evidently_url
    with evidently_socket(base, host) as listener:
        workspace = Workspace(desk.reports)
        changes = workspace.changes()
        workspace.apply(changes)
        if not changes.versions:
            print_warning("No report yet. It shows here when there is one: tickets run")
        if earlier := changes.without_figures:
            print_warning(
                f"The reports of {counted(len(earlier), 'day')} from {earlier[0]} to {earlier[-1]}"
                " are of an earlier release and show their drift alone. For the other panels:"
                f" tickets run --from {earlier[0]} --to {earlier[-1]} --only drift_report"
            )
        output.print(f"Evidently: {dashboard_address(base)}", soft_wrap=True)
        serve_evidently(workspace, base, listener)
