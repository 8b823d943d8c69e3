"""Looks at what people have made of tickets: each goes on where the last one ended."""

from __future__ import annotations

import hashlib
import json
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ticket_assets.delivery.fields import FieldReceiver, due_values
from ticket_assets.delivery.persons_values import persons_values
from ticket_assets.delivery.receivers import PersonsValue, ReadBack, ReceiverError
from ticket_assets.delivery.rest import AnswerError

if TYPE_CHECKING:
    from ticket_assets.delivery.rest import RestApi
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.system_names import SystemNames

FIRST_LOOK = timedelta(days=7)
"""So far a first look goes back, also the first with other names in the routing file. What people
have set before comes with an import. A ticket that cannot be read is tried for as long."""
OVERLAP = timedelta(minutes=5)
"""A look begins so much before the last change that was seen: systems tell of changes some time
after they were made, and not in their order."""
LOOK_SECONDS = 15.0
FAILURES_IN_A_ROW = 5
"""So many tickets that a look cannot read are an outage."""
EARLY = timedelta(days=1)
"""So long a ticket is remembered whose mail has not landed here when it was changed."""


@dataclass(frozen=True)
class ChangedTicket:
    """A ticket that the system names as changed."""

    reference: str
    changed_at: datetime
    """Aware."""
    name: str
    """For people."""


@dataclass
class _Look:
    """What the looks so far have seen."""

    begin: datetime
    seen: dict[str, str] = field(default_factory=dict)
    """When each ticket was changed as it was read, of those changed since `begin`."""
    early: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Message, name and time of change of each ticket whose mail has not landed here."""
    values: list[PersonsValue] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failed: list[datetime] = field(default_factory=list)


class LookingReceiver(FieldReceiver):
    """A system that names the tickets changed since some moment."""

    page_size: int
    """Tickets that it names at once."""
    pages: int
    """The most pages that it has of one look."""

    def __init__(self, api: RestApi, names: SystemNames, landing: LandingZone) -> None:
        self._api = api
        self.names = names
        self.landing = landing

    @property
    def configuration(self) -> bytes:
        return self._api.configuration + repr(self.names).encode()

    def close(self) -> None:
        self._api.close()

    @abstractmethod
    def changed(self, begin: datetime, page: int) -> Sequence[ChangedTicket]:
        """A page (from 0) of the tickets changed since then, the first changed first as far as the
        system knows. Raises as `find`."""

    @abstractmethod
    def message(self, reference: str) -> str | None:
        """The message id under which the ticket's mail landed here; None: it is of no mail. Raises
        as `find`."""

    @abstractmethod
    def seen_until(self) -> datetime | None:
        """A ticket changed then or later may be changed once more at the same time, as far as the
        system tells the time; None: it tells times apart."""

    def read_back(self, cursor: str | None) -> ReadBack:
        until = time.monotonic() + LOOK_SECONDS
        names = hashlib.sha256(repr(self.names).encode()).hexdigest()
        look = _look(cursor, names)
        seen_until = self.seen_until()
        self._read_early(look)
        next_begin = look.begin
        for page in range(self.pages):
            try:
                tickets = self.changed(look.begin, page)
                self._read_page(look, tickets, seen_until, until)
            except AnswerError as error:
                raise ReceiverError(f"{error}.") from None
            if time.monotonic() > until:
                break
            if len(tickets) < self.page_size:
                # Only a look that comes to the end has seen all up to a moment.
                moments = (datetime.fromisoformat(moment) for moment in look.seen.values())
                next_begin = max([look.begin, *(moment - OVERLAP for moment in moments)])
                break
        else:
            next_begin = min(ticket.changed_at for ticket in tickets)
        given_up = datetime.now(UTC) - FIRST_LOOK
        begin = min([next_begin, *(moment for moment in look.failed if moment > given_up)])
        return ReadBack(tuple(look.values), _cursor(look, begin, names), tuple(look.problems))

    def _read_page(
        self,
        look: _Look,
        tickets: Sequence[ChangedTicket],
        seen_until: datetime | None,
        until: float,
    ) -> None:
        new = [
            ticket
            for ticket in tickets
            if look.seen.get(ticket.reference) != ticket.changed_at.isoformat()
        ]
        messages = {ticket.reference: self.message(ticket.reference) for ticket in new}
        known = self.landing.tickets_named({name for name in messages.values() if name})
        for ticket in new:
            if time.monotonic() > until:
                return
            message = messages[ticket.reference]
            if message in known:
                if not self._read_ticket(look, ticket, sorted(known[message])):
                    continue
            elif message:
                moment = ticket.changed_at.isoformat()
                look.early[ticket.reference] = message, ticket.name, moment
            if seen_until is None or ticket.changed_at < seen_until:
                look.seen[ticket.reference] = ticket.changed_at.isoformat()

    def _read_early(self, look: _Look) -> None:
        known = self.landing.tickets_named({message for message, *_ in look.early.values()})
        for reference, (message, name, moment) in list(look.early.items()):
            if message in known:
                ticket = ChangedTicket(reference, datetime.fromisoformat(moment), name)
                if self._read_ticket(look, ticket, sorted(known[message])):
                    del look.early[reference]

    def _read_ticket(self, look: _Look, ticket: ChangedTicket, ticket_ids: list[str]) -> bool:
        """Add what people have made of a ticket; False if it cannot be read."""
        try:
            fields = self.read(ticket.reference)
            if due_values(fields, {})[0]:
                # A process was killed behind its write, and the ticket is labelled since.
                self.settle(ticket.reference, {})
        except AnswerError as error:
            look.failed.append(ticket.changed_at)
            if len(look.failed) == FAILURES_IN_A_ROW:
                raise ReceiverError(f"{error}.") from None
            look.problems.append(f"{ticket.name} cannot be read: {error}.")
            return False
        values, nameless = persons_values(ticket.name, ticket_ids, fields, self.names)
        look.values += values
        look.problems += nameless
        return True


def _look(cursor: str | None, names: str) -> _Look:
    """Where the last look ended; damaged, or with other names, it is as good as none."""
    try:
        content = json.loads(cursor or "")
        if content["names"] != names:
            raise ValueError("what a value means has changed")
        look = _Look(aware_moment(content["begin"]))
        look.seen = {str(key): aware_moment(at).isoformat() for key, at in content["seen"].items()}
        for reference, (message, name, at) in content["early"].items():
            look.early[str(reference)] = str(message), str(name), aware_moment(at).isoformat()
        return look
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Look(datetime.now(UTC) - FIRST_LOOK)


def _cursor(look: _Look, begin: datetime, names: str) -> str:
    forgotten = datetime.now(UTC) - EARLY
    state = {
        "begin": begin.isoformat(),
        "seen": {key: at for key, at in look.seen.items() if aware_moment(at) >= begin},
        "early": {
            key: entry for key, entry in look.early.items() if aware_moment(entry[2]) > forgotten
        },
        "names": names,
    }
    return json.dumps(state, ensure_ascii=False)


def aware_moment(text: Any) -> datetime:
    """A time in ISO 8601, of UTC where it names no zone.

    Raises:
        ValueError, TypeError: it is none.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
