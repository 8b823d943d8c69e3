"""Receivers of decisions: what each of them has to do, and those that are set.

A receiver is a module of this package, `NAME_receiver.py`. It has a class that does what `Receiver`
says, and a function `configured(desk)`, which makes one where its settings are set, else None.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from ticket_assets.errors import TicketAssetsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta

    from ticket_assets.delivery.decisions import Intent
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.routing import Routing
    from ticket_assets.settings import Settings

RECEIVERS = ("folder", "webhook", "glpi", "imap", "zammad")
"""Their names, in the order in which they are told."""


class Outcome(StrEnum):
    """What came of telling a receiver a decision."""

    DELIVERED = "delivered"
    ALREADY_THERE = "already_there"
    """The receiver had it, by its key, or as a value that this desk has written before."""
    TAKEN = "taken"
    """A person has set a value there, which stays."""
    UNKNOWN = "unknown"
    """The receiver has no such ticket yet: told again later, for some days."""
    FAILED = "failed"
    """No answer, or one that says nothing: told again later, with the same key."""
    REFUSED = "refused"
    """Not told again until the receiver's settings change, or a person says so."""


DONE = (Outcome.DELIVERED, Outcome.ALREADY_THERE)
"""The receiver has the decision."""
OPEN = (Outcome.UNKNOWN, Outcome.FAILED)
"""It is told again by itself."""


@dataclass(frozen=True)
class Receipt:
    """The receiver's answer to one decision."""

    ticket_id: str
    outcome: Outcome
    reason: str = ""
    """A sentence for people, where it is not delivered. What a server said is `cleansed`."""
    reference: str | None = None
    """The ticket's id in the receiver's own system."""
    retry_after: timedelta | None = None
    """The least time until it may be told again, where the receiver named one."""


class ReceiverError(TicketAssetsError):
    """A receiver takes nothing at all now: it is away, or refuses this desk."""

    def __init__(
        self, reason: str, *, is_refusal: bool = False, retry_after: timedelta | None = None
    ) -> None:
        """
        Args:
            reason: for people; what a server said is `cleansed`.
            is_refusal: it refuses the account, secret or address: tried seldom until they change,
                since servers lock accounts.
            retry_after: the least time until the next try, where the receiver named one.
        """
        super().__init__(reason)
        self.is_refusal = is_refusal
        self.retry_after = retry_after


@dataclass(frozen=True)
class PersonsValue:
    """What a person made of a ticket in the receiver's system, in this desk's own labels."""

    ticket_id: str
    category: str | None
    """None: nothing is said of it. One of the two is given."""
    priority: str | None
    set_at: datetime
    """Aware."""
    set_by: str


@dataclass(frozen=True)
class ReadBack:
    """One look at what people have made of tickets."""

    values: tuple[PersonsValue, ...] = ()
    cursor: str | None = None
    """How far this look has come; the next one begins there."""
    problems: tuple[str, ...] = ()
    """Sentences for people: labels without a category here, answers that say nothing."""


@dataclass(frozen=True)
class Finished:
    """The end of a run, with the numbers of its decisions by outcome."""

    run: str
    """A UUID."""
    finished_at: datetime
    """Aware."""
    outcomes: dict[str, int]


class Receiver(ABC):
    """A system that takes decisions.

    One process at a time uses it. It keeps nothing that must outlive the process: what was told and
    what came of it is in the ledger.
    """

    name: str
    """One of `RECEIVERS`."""
    batch_size: int = 100
    """So many intents are written to the ledger before the first of them is sent."""

    @property
    @abstractmethod
    def configuration(self) -> bytes:
        """What decides whether decisions are accepted: address, account, secret, mapping. It is
        kept as a salted digest, to know when it changes."""

    @abstractmethod
    def deliver(self, intents: Iterable[Intent]) -> Iterator[Receipt]:
        """Tell these decisions; yields a receipt of each, in any order, as soon as it is known.

        Any of them may have been told before, by a process that was killed before it had written
        down the receipt. One that the receiver knows by its key, or whose value there is what this
        desk has written, is ALREADY_THERE. A receiver that cannot know keys reads before it writes.

        Args:
            intents: of one batch, taken from one by one. It ends early when delivery is stopped;
                what has not been taken from it has not been told.

        Raises:
            ReceiverError: it takes nothing now. What was taken without a receipt is told again.
        """

    def finish(self, finished: Finished) -> None:  # noqa: B027 - most need not know
        """The run has ended, and has told something.

        Raises:
            ReceiverError: it could not be told, which is not tried again.
        """

    def read_back(self, cursor: str | None) -> ReadBack:
        """What people have made of tickets since a former look: never what this desk has written.

        A look takes a bounded time; the next one continues.

        Args:
            cursor: of the last look; None of the first.

        Raises:
            ReceiverError: it does not answer, or nonsense. The next look begins at the same cursor.
        """
        return ReadBack(cursor=cursor)

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Give back connections."""


class ReceiverStores(Protocol):
    """What receivers are made of: a desk, which knows them itself."""

    @property
    def settings(self) -> Settings: ...

    @property
    def landing(self) -> LandingZone: ...

    @property
    def routing(self) -> Routing: ...


def configured_receivers(
    desk: ReceiverStores, names: Iterable[str] = RECEIVERS
) -> tuple[Receiver, ...]:
    """Those of the names whose settings are set.

    Raises:
        SettingsError: one is set in part.
    """
    made = (import_module(f"ticket_assets.delivery.{name}_receiver") for name in names)
    receivers = (module.configured(desk) for module in made)
    return tuple(receiver for receiver in receivers if receiver is not None)
