"""The command that shows the graph of a desk: Dagster's UI, and the daemon beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from ticket_assets.cli.start import command_desk

app = typer.Typer()


@app.command(epilog="Example: `tickets dev --port 3001`")
def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI.")] = 3000,
) -> None:
    """Serve Dagster's UI for this desk on http://127.0.0.1:3000, with its sensors and schedules.

    Runs, cursors and sensors belong to the data folder: two desks share none. Ctrl-C ends it.
    """
    from ticket_assets.orchestration.development import serve

    raise typer.Exit(serve(command_desk().folder, port))
