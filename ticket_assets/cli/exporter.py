"""The command that serves the desk's figures to Prometheus."""

from __future__ import annotations

from typing import Annotated

import typer

from ticket_assets.cli.console import output
from ticket_assets.cli.start import command_desk

app = typer.Typer()


@app.command(epilog="Example: `tickets exporter --port 9480`")
def exporter(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 in a container.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9479,
) -> None:
    """Serve the desk's figures for Prometheus on http://127.0.0.1:9479/metrics.

    Tickets, the model, drift, and of Dagster the runs, pools, assets, checks and sensors, read
    every 15 seconds. /healthz says whether that works. Ctrl-C ends it.
    """
    from ticket_assets.metrics.server import listener, serve
    from ticket_assets.orchestration.exporter import desk_exposition

    desk = command_desk()
    with listener(host, port) as listening, desk_exposition(desk) as exposition:
        output.print(f"Figures for Prometheus: http://{host}:{port}/metrics", soft_wrap=True)
        serve(exposition, listening)
