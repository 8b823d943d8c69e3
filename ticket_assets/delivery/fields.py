"""Receivers whose tickets have fields with a history: none is written over what others set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ticket_assets.delivery.decisions import Decision, Intent
from ticket_assets.delivery.receivers import Outcome, Receipt, Receiver
from ticket_assets.delivery.rest import AnswerError
from ticket_assets.system_names import SystemNames, Target

WRITES = 5
"""Writes to one ticket, each followed by a look, before it is left to the next run."""
BETWEEN = timedelta(minutes=2)
"""The longest time from a look to the write after it. What stands longer before a write of ours was
seen by whoever wrote, so is not put back."""
TARGETS: tuple[Target, ...] = ("category", "priority", "queue")


class AmbiguousTicketError(Exception):
    """Several tickets there may be the one that is looked for; the text says which."""


@dataclass(frozen=True)
class Change:
    """An entry in the history of a field."""

    value: str
    """What it became, as the system calls it; empty: nothing."""
    is_ours: bool
    """Whether this desk's own account made it."""
    is_person: bool
    """Whether someone of the desk made it: no rule, and not the requester."""
    at: datetime
    """Aware."""
    by: str


@dataclass(frozen=True)
class Field:
    """A field of a ticket in the system."""

    value: str
    changes: tuple[Change, ...] = ()
    """In order."""

    @property
    def others(self) -> Change | None:
        """The last change that was not ours."""
        return next((change for change in reversed(self.changes) if not change.is_ours), None)

    @property
    def overwritten(self) -> str | None:
        """What somebody set between a look of ours and the write after it, where it does not stand
        there any more."""
        index = max((n for n, change in enumerate(self.changes) if not change.is_ours), default=-1)
        if index < 0 or index == len(self.changes) - 1:
            return None
        others, ours = self.changes[index : index + 2]
        is_between = ours.at - others.at <= BETWEEN
        return others.value if is_between and self.value != others.value else None

    @property
    def persons(self) -> Change | None:
        """The last change that a person of the desk made."""
        return next((change for change in reversed(self.changes) if change.is_person), None)


def due_values(
    fields: Mapping[Target, Field], values: Mapping[Target, str]
) -> tuple[dict[Target, str], set[Target]]:
    """What is to be written now, and the fields whose value others had set before us.

    A value that somebody else has set stays, whether a person or a rule did; one that came between
    a look and the write after it is put back. A value of ours stays as it is, since a delivered
    decision is not revised. The queue follows the category: where others have set another category,
    no queue is written.

    Args:
        values: those of the decision, as the system calls them.
    """
    due: dict[Target, str] = {}
    taken: set[Target] = set()
    for target, field in fields.items():
        if (value := field.overwritten) is not None:
            due[target] = value
        if target in values and field.others and not field.changes[0].is_ours:
            taken.add(target)
        if target in values and not field.changes and field.value != values[target]:
            due[target] = values[target]
    category = fields["category"].others if "category" in values else None
    if category and category.value != values["category"] and not fields["queue"].others:
        due.pop("queue", None)
    return due, taken


class FieldReceiver(Receiver):
    """A system whose tickets are looked up, read with their history, and written by field."""

    names: SystemNames

    @abstractmethod
    def find(self, decision: Decision) -> str | None:
        """The id there of the ticket of a decision; None: there is none yet.

        Raises:
            AmbiguousTicketError: it may be one of several.
            AnswerError: the answer cannot be used.
            ReceiverError: as `deliver`.
        """

    @abstractmethod
    def read(self, reference: str) -> Mapping[Target, Field]:
        """The fields of a ticket as they are now; raises as `find`."""

    @abstractmethod
    def write(self, reference: str, values: Mapping[Target, str]) -> None:
        """Set fields of a ticket; raises as `find`."""

    def deliver(self, intents: Iterable[Intent]) -> Iterator[Receipt]:
        for intent in intents:
            yield self._deliver(intent.decision)

    def _deliver(self, decision: Decision) -> Receipt:
        values, nameless = self._values(decision)
        note = f"{' and '.join(nameless)} no name in {self.name}" if nameless else ""
        note = f"The routing file gives {note}." if note else ""
        if not values and decision.decision == "review" and not note:
            # It waits for a person where it is, in a system whose queues are not ours.
            return Receipt(decision.ticket_id, Outcome.ALREADY_THERE)
        if not values:
            return Receipt(decision.ticket_id, Outcome.REFUSED, note or self._nothing)
        reference = None
        try:
            reference = self.find(decision)
            if reference is None:
                return Receipt(
                    decision.ticket_id,
                    Outcome.UNKNOWN,
                    f"{self.name} has no ticket of this message yet.",
                )
            outcome, reason = self.settle(reference, values)
        except AmbiguousTicketError as error:
            return Receipt(decision.ticket_id, Outcome.UNKNOWN, str(error))
        except AnswerError as error:
            outcome = Outcome.FAILED
            if error.status in {403, 422}:  # no right to this ticket, or a value that it has not
                outcome = Outcome.REFUSED
            elif error.status == 404:
                outcome = Outcome.UNKNOWN
            reason = f"{error}."
        return Receipt(
            decision.ticket_id, outcome, " ".join(filter(None, [reason, note])), reference
        )

    def settle(self, reference: str, values: Mapping[Target, str]) -> tuple[Outcome, str]:
        """Write what is due until a look finds nothing due: no system here writes on condition
        that nobody has written meanwhile. Returns what came of it and why; raises as `find`."""
        was_written = False
        for _ in range(WRITES):
            due, taken = due_values(self.read(reference), values)
            if not due:
                reason = f"Others have set the {' and '.join(sorted(taken))}." if taken else ""
                if "category" in taken or (taken and taken == values.keys()):
                    return Outcome.TAKEN, reason
                return (Outcome.DELIVERED if was_written else Outcome.ALREADY_THERE), reason
            try:
                self.write(reference, due)
            except AnswerError as error:
                if was_written:  # something is to be put back
                    return Outcome.FAILED, f"{error}."
                raise
            was_written = True
        return Outcome.FAILED, f"Ticket {reference} does not keep what is written to it."

    def _values(self, decision: Decision) -> tuple[dict[Target, str], list[str]]:
        """What to write, and what has no name there although others of its kind have."""
        values: dict[Target, str] = {}
        nameless = []
        for target in TARGETS:
            name = getattr(decision, target)
            if name is None or not getattr(self.names, target):
                continue
            there = self.names.written(target, name)
            if there is None:
                nameless.append(f"the {target} {name!r}")
            else:
                values[target] = there
        return values, nameless

    @property
    def _nothing(self) -> str:
        return f"The decision holds nothing for which the routing file has a name in {self.name}."
