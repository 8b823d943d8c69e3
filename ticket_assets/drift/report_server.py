"""Serves the drift reports to a browser on this machine, for reading only."""

from __future__ import annotations

import html
import os
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ticket_assets.drift.store import FIGURES, HTML, ReportStore
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.blobs import BlobStoreError

if TYPE_CHECKING:
    from datetime import date

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response

LOOPBACK = "127.0.0.1"
SAFEGUARDS = {
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:;"
    " worker-src blob:; style-src 'unsafe-inline'; img-src data: blob:; font-src data:",
    "x-content-type-options": "nosniff",
}
"""A page needs the scripts and pictures that it holds, and asks nobody for others."""


class ReportServerError(TicketAssetsError):
    """The reports cannot be served."""


def report_address(base: str, day: date) -> str:
    """The address of the day's report, when the reports are served at `base`."""
    return f"{base.rstrip('/')}/{day.isoformat()}/{HTML}"


def report_application(reports: ReportStore, base: str) -> Starlette:
    """The reports below their day, and a list of the days, the latest first.

    It answers only requests to this machine's own names and to the host of `base`: a web page of
    another host must not read the reports through a name that resolves to this machine.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route

    # Plain functions: Starlette runs them in threads, since a store may take its time.
    def days(_: Request) -> HTMLResponse:
        return HTMLResponse(_days_page(reports), headers=SAFEGUARDS)

    def report(request: Request) -> Response:
        content = reports.read(request.path_params["name"])
        if content is None:
            return PlainTextResponse("There is no such report.", 404)
        is_html = request.path_params["name"].endswith(".html")
        media_type = "text/html" if is_html else "application/json"
        return Response(content, media_type=media_type, headers=SAFEGUARDS)

    def unavailable(_: Request, error: Exception) -> Response:
        return PlainTextResponse(str(error), 503)

    hosts = {LOOPBACK, "localhost", urlsplit(base).hostname or LOOPBACK}
    return Starlette(
        routes=[
            Route("/", days),
            Route("/{name:path}", report),
        ],
        exception_handlers={BlobStoreError: unavailable},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts))],
    )


def serve_reports(reports: ReportStore, base: str) -> bool:
    """Serve the reports at `base` in the background, as long as this process lives.

    Returns False, and serves nothing, when `base` is not an address of this machine.

    Raises:
        ReportServerError: its port is taken.
    """
    from uvicorn import Config, Server

    address = urlsplit(base)
    if address.hostname not in {LOOPBACK, "localhost"}:
        return False
    try:
        listener = socket.create_server((LOOPBACK, address.port or 80))
    except OSError as error:
        raise ReportServerError(
            f"The drift reports cannot be served at {base}: {os.strerror(error.errno or 0)}. Give"
            " them another port, as in TICKETS_REPORTS_URL=http://127.0.0.1:3005"
        ) from None
    server = Server(Config(report_application(reports, base), log_level="warning"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    return True


def _days_page(reports: ReportStore) -> str:
    rows = []
    html_days = set(reports.html_days())
    for day in reversed(reports.days()):
        name = HTML if day in html_days else FIGURES
        kind = "report" if name == HTML else "figures"
        rows.append(f'<li>{day}: <a href="{day}/{name}">{kind}</a></li>')
    listed = f"<ul>{''.join(rows)}</ul>" if rows else "<p>No report yet: tickets run</p>"
    title = html.escape(f"Drift reports in {reports.blobs.location}")
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"
        f"<body style='font-family: sans-serif; margin: 2em'><h1>{title}</h1>{listed}</body></html>"
    )
