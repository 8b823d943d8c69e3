"""Serves the figures that were read last; a scrape reads nothing itself."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ticket_assets.errors import TicketAssetsError
from ticket_assets.metrics.families import gauge, gauges

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

REFRESH_SECONDS = 15.0
STALE_SECONDS = 4 * REFRESH_SECONDS
"""Without a refresh for so long, the exporter says that it is not well."""

Reader = Callable[[], Iterable[Metric]]

logger = logging.getLogger(__name__)


class ExporterError(TicketAssetsError):
    """The figures cannot be served."""


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


@dataclass
class Exposition:
    """The figures of all readers, as Prometheus reads them."""

    readers: dict[str, Reader]
    """By what they read. One that fails takes only its own figures away."""
    version: str
    """Of the product."""
    refreshed_at: float | None = None
    """Seconds of the epoch."""
    text: bytes = b""
    zipped: bytes = b""
    _failures: dict[str, str] = field(default_factory=dict)

    def refresh(self) -> None:
        """Read all figures anew."""
        begun = time.monotonic()
        families: list[Metric] = []
        failures: dict[str, str] = {}
        for name, read in self.readers.items():
            try:
                families += list(read())
            # Whatever is wrong with one part, the others tell; this one is told of as well.
            except Exception as error:
                failures[name] = f"{type(error).__name__}: {error}"
                if failures[name] != self._failures.get(name):
                    logger.exception("The figures of %s cannot be read.", name)
        self._failures = failures
        now = time.time()
        families += self._own_families(now, time.monotonic() - begun)
        registry = CollectorRegistry()
        registry.register(_Families(families))
        self.text = generate_latest(registry)
        self.zipped = gzip.compress(self.text, compresslevel=1)
        self.refreshed_at = now

    def is_stale(self) -> bool:
        return self.refreshed_at is None or time.time() - self.refreshed_at > STALE_SECONDS

    def _own_families(self, now: float, seconds: float) -> Iterable[Metric]:
        yield gauges("tickets_exporter_info", "This exporter.", ("version",), {(self.version,): 1})
        yield gauge(
            "tickets_exporter_refresh_timestamp_seconds", "When the figures were read last.", now
        )
        yield gauge(
            "tickets_exporter_refresh_duration_seconds", "How long it took to read them.", seconds
        )
        yield gauges(
            "tickets_exporter_read_failed",
            "Whether a part of the figures could not be read, and is missing.",
            ("part",),
            {(name,): name in self._failures for name in self.readers},
        )


def exporter_application(exposition: Exposition) -> Starlette:
    """`/metrics` and `/healthz`; the latter answers 503 while the figures are old."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    async def metrics(request: Request) -> Response:
        if exposition.refreshed_at is None:
            return PlainTextResponse("The figures are being read for the first time.\n", 503)
        headers = {"content-type": CONTENT_TYPE_LATEST, "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(exposition.zipped, headers={**headers, "content-encoding": "gzip"})
        return Response(exposition.text, headers=headers)

    async def health(_: Request) -> Response:
        if exposition.refreshed_at is None:
            return PlainTextResponse("The figures are being read for the first time.\n", 503)
        age = time.time() - exposition.refreshed_at
        return PlainTextResponse(
            f"The figures were read {age:.0f} seconds ago.\n", 503 if exposition.is_stale() else 200
        )

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", health)])


def listener(host: str, port: int) -> socket.socket:
    """A socket for `serve`.

    Raises:
        ExporterError: the address cannot be used.
    """
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise ExporterError(
            f"The figures cannot be served at http://{host}:{port}: {error.strerror or error}. Give"
            " them another address, as in: tickets exporter --port 9480"
        ) from None


def serve(exposition: Exposition, listening: socket.socket) -> None:
    """Serve until a signal ends this process, and refresh beside it."""
    from uvicorn import Config, Server

    def refresh() -> None:
        while True:
            begun = time.monotonic()
            exposition.refresh()
            time.sleep(max(REFRESH_SECONDS - (time.monotonic() - begun), 1.0))

    threading.Thread(target=refresh, daemon=True).start()
    config = Config(exporter_application(exposition), log_level="warning", access_log=False)
    Server(config).run(sockets=[listening])
