"""What people change in a desk's own system is read with the mail, and lands as their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ticket_assets.delivery.receivers import ReceiverError, configured_receivers
from ticket_assets.mail.imap import LoginRefusedError
from ticket_assets.mail.landing import Label
from ticket_assets.mail.sources import SourceReport
from ticket_assets.routing import RoutingError
from ticket_assets.storage.blobs import BlobNotFoundError

if TYPE_CHECKING:
    from ticket_assets.delivery.receivers import Receiver, ReceiverStores
    from ticket_assets.mail.sources import Poll, Source
    from ticket_assets.storage.blobs import Blobs


READ_BACK = ("glpi", "imap", "zammad")
"""The receivers in which people change what they were told."""


class ReadBackRefusedError(LoginRefusedError):
    """The system refuses this desk's account."""


@dataclass(frozen=True)
class ReadBackSource:
    """A system that decisions are delivered to, as a source of labels."""

    receiver: Receiver

    @property
    def name(self) -> str:
        return _source_name(self.receiver.name)

    def configuration(self) -> bytes:
        return self.receiver.configuration

    def refusals(self, cursors: Blobs) -> tuple[str, ...]:
        return ()

    def poll(self, poll: Poll) -> SourceReport:
        cursor_name = f"read-back-{self.receiver.name}.json"
        try:
            read = self.receiver.read_back(_cursor(poll.cursors, cursor_name))
        except ReceiverError as error:
            if error.is_refusal:
                raise ReadBackRefusedError(str(error)) from None
            raise
        finally:
            self.receiver.close()
        labels = 0
        for value in read.values:
            # A file of its own each: the same change, read again, is the same file.
            labels += poll.landing.land_labels(
                [
                    Label(
                        category=value.category,
                        priority=value.priority,
                        labelled_at=value.set_at,
                        labelled_by=f"{value.set_by} in {self.receiver.name}",
                        ticket_id=value.ticket_id,
                        message_id=None,
                    )
                ]
            )
        # After the labels: a poll that dies in between reads the same changes again.
        if read.cursor is not None:
            poll.cursors.replace(cursor_name, read.cursor.encode())
        return SourceReport(
            self.name, labels=labels, problems=read.problems, refusals=read.problems
        )


@dataclass(frozen=True)
class UnusableSource:
    """A system of which the routing file does not say what its values mean. It fails as a source
    that is away does, so that mail, alerts and figures go on."""

    name: str
    error: RoutingError

    def configuration(self) -> bytes:
        return str(self.error).encode()

    def refusals(self, cursors: Blobs) -> tuple[str, ...]:
        return ()

    def poll(self, poll: Poll) -> SourceReport:
        raise self.error


def read_back_sources(desk: ReceiverStores) -> tuple[Source, ...]:
    """The systems in which people change what they were told, as far as they are set.

    Raises:
        SettingsError: one is set in part.
    """
    sources: list[Source] = []
    for name in READ_BACK:
        try:
            sources += map(ReadBackSource, configured_receivers(desk, [name]))
        except RoutingError as error:
            sources.append(UnusableSource(_source_name(name), error))
    return tuple(sources)


def _source_name(receiver: str) -> str:
    return f"what people change in {receiver}"


def _cursor(cursors: Blobs, name: str) -> str | None:
    try:
        return cursors.read(name).decode("utf-8", "replace")
    except BlobNotFoundError:
        return None
