"""Serves Evidently's own UI on the desk's drift reports: to be read only, without telemetry."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from ticket_assets.drift.store import ReportStore
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.blobs import BlobStoreError

if TYPE_CHECKING:
    from evidently.core.serialization import SnapshotModel
    from evidently.ui.service.managers.projects import ProjectManager
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
PORT = 3002
LOOK_SECONDS = 15.0
"""The time after which a report that was written or removed shows."""
PROJECT = uuid5(NAMESPACE_URL, "ticket-assets:drift")
_READ_BY_POST = "/data_series_batch"
_log = logging.getLogger(__name__)


class EvidentlyServerError(TicketAssetsError):
    """Evidently's UI cannot be served."""


def dashboard_address(base: str) -> str:
    """The address of the dashboard in Evidently's UI, when that is served at `base`."""
    return f"{base.rstrip('/')}/projects/{PROJECT}"


def snapshot_address(base: str, day: date) -> str:
    """The address of the day's page in it, which stays the same."""
    return f"{dashboard_address(base)}/reports/{_snapshot_id(day)}"


def _snapshot_id(day: date) -> UUID:
    return uuid5(PROJECT, day.isoformat())


@dataclass(frozen=True)
class Changes:
    """The difference between the desk's reports and what is shown of them."""

    snapshots: Mapping[date, SnapshotModel]
    versions: Mapping[date, str]
    """Of all reports, by day."""
    without_figures: list[date]
    """The days of `snapshots` that an earlier release has compared."""


class Workspace:
    """The desk's reports as an Evidently workspace, which is in this process' memory alone.

    So it is no second truth: it has nothing to be erased, backed up, migrated or locked, and each
    server has its own.
    """

    def __init__(self, reports: ReportStore) -> None:
        from evidently.ui.service.base import Project
        from evidently.ui.service.storage.common import NO_USER
        from evidently.ui.service.storage.local import create_local_project_manager
        from evidently.ui.service.storage.local.base import LocalState

        from ticket_assets.drift.evidently_snapshots import dashboard

        self.path = f"memory://{uuid4()}"
        self._reports = reports
        self._versions: dict[date, str] = {}
        self._state = LocalState.load(self.path, None)
        self.manager: ProjectManager = create_local_project_manager(
            self.path, autorefresh=False, state=self._state
        )
        name = f"Drift reports in {reports.blobs.location}"
        project = Project(id=PROJECT, name=name).bind(self.manager, NO_USER.id)
        self._state.projects[PROJECT] = project
        self._state.snapshots[PROJECT] = {}
        self._state.location.makedirs(str(PROJECT))
        self._state.write_dashboard(PROJECT, dashboard())

    def changes(self) -> Changes:
        """What the desk has that is not shown yet.

        Raises:
            BlobStoreError: the desk's files cannot be read.
        """
        from ticket_assets.drift.evidently_snapshots import day_snapshot

        versions = self._reports.versions()
        news = [day for day, version in versions.items() if self._versions.get(day) != version]
        snapshots, without_figures = {}, []
        for day, content in self._reports.figures(news):
            try:
                document = json.loads(content)
                snapshots[day] = day_snapshot(document)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                _log.warning("The report of %s cannot be shown: %r", day, error)
                continue
            if "figures" not in document:
                without_figures.append(day)
        return Changes(snapshots, versions, without_figures)

    def apply(self, changes: Changes) -> None:
        """Show the changes; in the thread that answers requests, which reads what this writes."""
        shown = self._state.snapshots[PROJECT]
        for day in self._versions.keys() - changes.versions.keys():
            if shown.pop(_snapshot_id(day), None):
                self._state.delete_snapshot(PROJECT, _snapshot_id(day))
        for day, snapshot in changes.snapshots.items():
            shown[_snapshot_id(day)] = snapshot
            self._state.write_snapshot(PROJECT, _snapshot_id(day), snapshot)
            for callback in self._state.callbacks:
                callback(PROJECT, _snapshot_id(day), snapshot)
        self._versions = dict(changes.versions)

    async def follow(self) -> None:
        """Look for changes every `LOOK_SECONDS`, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.apply(await asyncio.to_thread(self.changes))
            except BlobStoreError as error:
                _log.warning("%s", error)


def evidently_application(workspace: Workspace, base: str) -> ASGIApp:
    """Evidently's UI of the workspace.

    It answers only requests to this machine's own names and to the host of `base`: a web page of
    another host must not read the reports through a name that resolves to this machine. It changes
    nothing: the next look at the reports would undo it.
    """
    from evidently.ui.service.api import service
    from evidently.ui.service.components.base import AppBuilder
    from evidently.ui.service.components.dashboard import DashboardComponent
    from evidently.ui.service.components.storage import LocalStorageComponent
    from evidently.ui.service.components.telemetry import TelemetryComponent
    from evidently.ui.service.local_service import LocalConfig
    from litestar import Litestar
    from litestar.di import Provide
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # Evidently asks git for its own commit, which complains where there is no repository.
    service.get_git_revision_short_hash = lambda _: None

    @asynccontextmanager
    async def followed(_: Litestar) -> AsyncIterator[None]:
        following = asyncio.create_task(workspace.follow())
        yield
        following.cancel()

    config = LocalConfig(
        storage=LocalStorageComponent(path=workspace.path, autorefresh=False),
        dashboard=DashboardComponent(path=workspace.path),
        telemetry=TelemetryComponent(enabled=False),
    )
    with config.context() as context:
        builder = AppBuilder(context)
        context.apply(builder)
        builder.dependencies["project_manager"] = Provide(
            lambda: workspace.manager, sync_to_thread=False
        )
        builder.kwargs["lifespan"] = [followed]
        app = builder.build()
    hosts = {LOOPBACK, "localhost", urlsplit(base).hostname or LOOPBACK}
    return TrustedHostMiddleware(_read_only(app), allowed_hosts=sorted(hosts))


def _read_only(app: Any) -> ASGIApp:
    from starlette.responses import PlainTextResponse

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        reads = scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}
        if reads or scope["path"].endswith(_READ_BY_POST):
            await app(scope, receive, send)
        else:
            refusal = PlainTextResponse("The drift reports are to be read only.", 405)
            await refusal(scope, receive, send)

    return answer


def evidently_socket(base: str, host: str = LOOPBACK) -> socket.socket:
    """Listens at the port of `base`, where that is of this machine, else at `PORT`.

    Raises:
        EvidentlyServerError: the address cannot be used, since the port is taken perhaps.
    """
    address = urlsplit(base)
    is_here = address.hostname in {LOOPBACK, "localhost"}
    port = (address.port or 80) if is_here else PORT
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise EvidentlyServerError(
            f"Evidently's UI cannot be served at http://{host}:{port}: {error.strerror or error}."
            " Give it another port, as in TICKETS_EVIDENTLY_URL=http://127.0.0.1:3006"
        ) from None


def serve_evidently(workspace: Workspace, base: str, listener: socket.socket) -> None:
    """Serve the workspace until a signal ends it."""
    from uvicorn import Config, Server

    server = Server(Config(evidently_application(workspace, base), log_level="warning"))
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
