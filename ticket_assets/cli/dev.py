"""The command that shows the graph of a desk: Dagster's UI, and the daemon beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from ticket_assets.cli.console import output, print_warning
from ticket_assets.cli.start import command_desk

app = typer.Typer()


@app.command(epilog="Example: `tickets dev --port 3001`")
def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI.")] = 3000,
) -> None:
    """Serve Dagster's UI for this desk on http://127.0.0.1:3000, with its sensors and schedules.

    Runs, cursors and sensors belong to the data folder: two desks share none. The drift reports
    are served beside it, at TICKETS_REPORTS_URL. Ctrl-C ends it.
    """
    from ticket_assets.drift.report_server import ReportServerError, serve_reports
    from ticket_assets.orchestration.development import only_server, serve

    desk = command_desk()
    base = desk.settings.reports_url
    with only_server(desk.folder, port) as lock:
        try:
            if serve_reports(desk.reports, base):
                output.print(f"Drift reports: {base}")
        except ReportServerError as error:
            print_warning(str(error))
        raise typer.Exit(serve(desk.folder, port, lock))
