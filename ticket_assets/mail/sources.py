"""The mail sources of a desk, looked at one after the other; none that fails stops the others."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.back_off import Failure, read_back_off, write_back_off
from ticket_assets.mail.exports import TableReading
from ticket_assets.mail.folders import (
    SETTLED_SECONDS,
    FolderReport,
    drop_folder_refusals,
    maildir_refusals,
    poll_drop_folder,
    poll_maildir,
)
from ticket_assets.mail.imap import (
    REFUSED_TRIES,
    ImapAccount,
    LoginRefusedError,
    RefusedMessage,
    fetch_new,
)
from ticket_assets.mail.landing import (
    ErasureUnderWayError,
    IncomingMessage,
    LandingError,
    LandingZone,
)
from ticket_assets.routing import load_routing
from ticket_assets.settings import DateOrder, Settings, SettingsError
from ticket_assets.storage.blobs import Blobs, BlobStoreError
from ticket_assets.storage.leases import LeaseHeldError, Leases

POLLING = "cursors/poll.lock"


class PollBusyError(TicketAssetsError):
    """Another process is fetching from the same sources, or an erasure keeps mail out."""


@dataclass(frozen=True)
class Poll:
    """The landing zone and the limits with which every source lands its mail."""

    landing: LandingZone
    cursors: Blobs
    leases: Leases
    max_messages: int = 10_000
    seconds: float = math.inf
    """After so many, a source begins nothing more and leaves the rest to the next poll."""
    first_day: date | None = None
    """The first day in use if the user has set one."""
    on_message: Callable[[IncomingMessage], None] | None = None


@dataclass(frozen=True)
class SourceReport:
    """What a poll of one source changed, or why it changed nothing."""

    name: str
    landed: int = 0
    already_there: int = 0
    remaining: int = 0
    """Messages or files that were there and wait for the next poll."""
    older: int = 0
    """Landed messages from before the first day, which wait until it is moved back."""
    undated: int = 0
    """Landed messages without a usable date, under the day they landed."""
    labels: int = 0
    days: tuple[date, ...] = ()
    """Days that received a new message, sorted."""
    problems: tuple[str, ...] = ()
    """Why messages and files cannot be had, for those that no poll has reported before."""
    refusals: tuple[str, ...] = ()
    """Why messages and files cannot be had, for all that stand now."""
    early_labels: tuple[str, ...] = ()
    """Which labels wait for their message."""
    tables: tuple[TableReading, ...] = ()
    error: str | None = None
    """Why the source failed now, in one line."""
    waits_for: str | None = None
    """Why it failed when it was last tried: it waits, and was not tried now."""
    next_try: datetime | None = None


class Source(Protocol):
    """Where mail comes from."""

    @property
    def name(self) -> str:
        """The source's name for people."""

    def configuration(self) -> bytes:
        """The settings that its success depends on, the present secret included."""

    def refusals(self, cursors: Blobs) -> tuple[str, ...]:
        """Why files cannot be had, as far as polls have seen them."""

    def poll(self, poll: Poll) -> SourceReport:
        """Land what is new.

        Raises:
            TicketAssetsError: the source fails as a whole.
        """


@dataclass(frozen=True)
class ImapSource:
    """The folders of an IMAP account."""

    account: ImapAccount

    @property
    def name(self) -> str:
        return f"{self.account.user} on {self.account.address}"

    def configuration(self) -> bytes:
        secrets = []
        for path in (self.account.password_file, self.account.token_file):
            try:
                secrets.append(path.read_bytes().hex() if path else None)
            except OSError as error:
                secrets.append(str(error.strerror))
        return json.dumps([asdict(self.account), secrets], default=str).encode()

    def refusals(self, cursors: Blobs) -> tuple[str, ...]:
        return ()

    def poll(self, poll: Poll) -> SourceReport:
        report = fetch_new(
            poll.landing,
            self.account,
            poll.cursors,
            max_messages=poll.max_messages,
            seconds=poll.seconds,
            on_message=poll.on_message,
            first_day=poll.first_day,
        )
        standing = [refused for refused in report.refused if refused.tries >= REFUSED_TRIES]
        return SourceReport(
            name=self.name,
            landed=report.landed,
            already_there=report.already_there,
            remaining=report.remaining,
            older=report.older,
            undated=report.undated,
            days=report.days,
            problems=tuple(
                self._refusal(refused)
                for refused in standing
                if refused.tries == REFUSED_TRIES and refused.asked_now
            ),
            refusals=tuple(map(self._refusal, standing)),
        )

    def _refusal(self, refused: RefusedMessage) -> str:
        return (
            f"{self.account.address} has refused {refused} in {refused.tries} fetches. The"
            " others were fetched; it is asked for once a day. Look at it in a mail program."
        )


@dataclass(frozen=True)
class Maildir:
    """A Maildir that another program delivers to."""

    folder: Path

    @property
    def name(self) -> str:
        return f"the Maildir {self.folder}"

    def configuration(self) -> bytes:
        return str(self.folder).encode(errors="surrogateescape")

    def refusals(self, cursors: Blobs) -> tuple[str, ...]:
        return maildir_refusals(self.folder, cursors)

    def poll(self, poll: Poll) -> SourceReport:
        report = poll_maildir(
            poll.landing,
            self.folder,
            poll.cursors,
            max_messages=poll.max_messages,
            deadline=time.monotonic() + poll.seconds,
            first_day=poll.first_day,
            on_message=poll.on_message,
        )
        return _source_report(self.name, report)


@dataclass(frozen=True)
class DropFolder:
    """A folder in which people and programs leave mail and exports."""

    folder: Path
    routing: Path | None = None
    """YAML file with the labels that exports may hold; None: the packaged one."""
    column_mapping: Mapping[str, str] | None = None
    date_order: DateOrder | None = None
    settled_seconds: float = SETTLED_SECONDS

    @property
    def name(self) -> str:
        return f"the drop folder {self.folder}"

    def configuration(self) -> bytes:
        return f"{self.folder} {self.routing}".encode(errors="surrogateescape")

    def refusals(self, cursors: Blobs) -> tuple[str, ...]:
        return drop_folder_refusals(self.folder, cursors)

    def poll(self, poll: Poll) -> SourceReport:
        routing = load_routing(self.routing)
        report = poll_drop_folder(
            poll.landing,
            self.folder,
            poll.cursors,
            categories=routing.categories,
            priorities=routing.priorities,
            column_mapping=self.column_mapping,
            date_order=self.date_order,
            max_messages=poll.max_messages,
            deadline=time.monotonic() + poll.seconds,
            first_day=poll.first_day,
            on_message=poll.on_message,
            settled_seconds=self.settled_seconds,
        )
        return _source_report(self.name, report)


def configured_sources(settings: Settings) -> tuple[Source, ...]:
    """The sources that mail comes from by itself.

    Raises:
        SettingsError: a mail account is set in part.
    """
    sources: list[Source] = []
    if settings.imap_host or settings.imap_user:
        sources.append(ImapSource(imap_account(settings)))
    if settings.drop_folder:
        sources.append(
            DropFolder(
                settings.drop_folder,
                settings.routing,
                settings.column_mapping or None,
                settings.export_dates,
            )
        )
    if settings.maildir:
        sources.append(Maildir(settings.maildir))
    return tuple(sources)


def imap_account(settings: Settings) -> ImapAccount:
    """The account that mail is fetched from.

    Raises:
        SettingsError: its server or user is not set, or not exactly one secret is.
    """
    if not settings.imap_host or not settings.imap_user:
        raise SettingsError(
            "No mail account is set: set TICKETS_IMAP_HOST and TICKETS_IMAP_USER, in the"
            " environment or in .env."
        )
    secrets = (settings.imap_password, settings.imap_password_file, settings.imap_token_file)
    if sum(secret is not None for secret in secrets) != 1:
        raise SettingsError(
            "Set exactly one of TICKETS_IMAP_PASSWORD, TICKETS_IMAP_PASSWORD_FILE and"
            " TICKETS_IMAP_TOKEN_FILE."
        )
    password = settings.imap_password
    return ImapAccount(
        host=settings.imap_host,
        user=settings.imap_user,
        password=password.get_secret_value() if password else None,
        password_file=settings.imap_password_file,
        token_file=settings.imap_token_file,
        folders=tuple(dict.fromkeys(settings.imap_folders)),
        security=settings.imap_security,
        port=settings.imap_port,
        ca_file=settings.imap_ca_file,
    )


def poll_sources(
    sources: Sequence[Source], poll: Poll, at_once: Collection[Failure] = ()
) -> list[SourceReport]:
    """Land what is new in each source, and report on each.

    A source that fails is tried again with growing delays, which are remembered, unless its
    settings or its secret have changed; after failures named in `at_once` it does not wait. The
    seconds of `poll` bound the whole: each source has its share of what is left.

    Raises:
        PollBusyError: another process is polling, or an erasure is under way.
        BlobStoreError: the landing zone cannot be written.
    """
    try:
        with poll.leases.hold(POLLING):
            return _poll_each(sources, poll, at_once)
    except LeaseHeldError:
        raise PollBusyError(
            "Another fetch is at work on the same sources. Wait until it has ended."
        ) from None
    except ErasureUnderWayError as erasure:
        raise PollBusyError(str(erasure)) from None


def _poll_each(
    sources: Sequence[Source], poll: Poll, at_once: Collection[Failure]
) -> list[SourceReport]:
    deadline = time.monotonic() + poll.seconds
    reports = []
    for number, source in enumerate(sources):
        share = max(deadline - time.monotonic(), 0.0) / (len(sources) - number)
        report = _poll_patiently(source, replace(poll, seconds=share), at_once)
        standing = report.refusals + source.refusals(poll.cursors)
        reports.append(replace(report, refusals=standing))
    return reports


def _poll_patiently(source: Source, poll: Poll, at_once: Collection[Failure]) -> SourceReport:
    back_off = read_back_off(poll.cursors, source.name)
    now = datetime.now(UTC)
    if (
        back_off.waits(now)
        and back_off.failure not in at_once
        and back_off.is_about(source.configuration())
    ):
        return SourceReport(source.name, waits_for=back_off.error, next_try=back_off.next_try)
    try:
        report = source.poll(poll)
    except (BlobStoreError, LandingError):
        raise  # no fault of the source
    except TicketAssetsError as error:
        failure: Failure = "login" if isinstance(error, LoginRefusedError) else "outage"
        back_off = back_off.failed(now, failure, str(error), source.configuration())
        write_back_off(poll.cursors, source.name, back_off)
        return SourceReport(source.name, error=str(error), next_try=back_off.next_try)
    write_back_off(poll.cursors, source.name, back_off.succeeded(now))
    return report


def _source_report(name: str, report: FolderReport) -> SourceReport:
    return SourceReport(
        name=name,
        landed=report.landed,
        already_there=report.already_there,
        remaining=report.remaining,
        older=report.older,
        undated=report.undated,
        labels=report.labels,
        days=tuple(sorted(report.days)),
        problems=tuple(report.problems),
        early_labels=tuple(report.early_labels),
        tables=tuple(report.tables),
    )
