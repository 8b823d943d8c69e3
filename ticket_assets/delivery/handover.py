"""Hands decisions over to the receivers: each once, and none that a person has made."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from ticket_assets.delivery.ledger import Ledger
from ticket_assets.delivery.receivers import (
    Finished,
    Outcome,
    Receipt,
    Receiver,
    ReceiverError,
    configured_receivers,
)
from ticket_assets.delivery.state import DeliveryState, begin, change_state, read_state
from ticket_assets.mail.back_off import Failure, is_salted, read_back_off, salted, write_back_off
from ticket_assets.mail.landed_days import (
    day_fingerprints,
    labels_fingerprint,
    overall_fingerprint,
)
from ticket_assets.storage.day_origins import UNPARTITIONED, read_origins

if TYPE_CHECKING:
    from ticket_assets.delivery.decisions import Intent
    from ticket_assets.desk import Desk

MOST_SECONDS = 600.0
"""A receiver is told for so long in one run; the next run goes on."""
FAILURES_IN_A_ROW = 10
"""After so many it is the receiver that fails, and not a ticket."""
SWITCH_SECONDS = 1.0
"""The switch is looked at so often while decisions are told."""


@dataclass
class Handover:
    """What a run has told one receiver."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """The numbers of receipts."""
    problem: str = ""
    """A sentence for people: why it ended early, or did not begin."""


def hand_over(
    desk: Desk,
    receivers: Sequence[Receiver] | None = None,
    log: Callable[[str], None] = lambda _: None,
    most_seconds: float = MOST_SECONDS,
) -> dict[str, Handover]:
    """Tell the receivers what they have not been told, and what was told without a receipt.

    It may be killed at any point and repeated. Other processes that hand over wait meanwhile.

    Args:
        receivers: those that are set.

    Returns:
        What each was told; none where nothing may be handed on.

    Raises:
        SettingsError: a receiver is set in part.
        DeliveryError: the state of the deliveries is damaged.
        WarehouseError: the ledger cannot be written. What was sent without a receipt is sent again.
    """
    if receivers is None:
        receivers = configured_receivers(desk)
    former = read_state(desk.cursors)
    if desk.settings.shadow_mode:
        receivers = ()  # when it ends they begin anew: what was decided in it is not handed on
    if not receivers and (former is None or not former.first_days):
        return {}
    with desk.leases.hold("cursors/.delivery.lock", wait=True):
        today = datetime.now(UTC).date()
        days = {receiver.name: today for receiver in receivers}
        state = change_state(desk.cursors, lambda state: begin(state, days))
        if "ticket_predictions" not in desk.warehouse.tables():
            return {}
        told = {}
        for receiver in receivers:
            try:
                told[receiver.name] = _Telling(desk, state, receiver, most_seconds).run()
            finally:
                receiver.close()
            log(_sentence(receiver.name, told[receiver.name]))
        return told


def _sentence(name: str, handover: Handover) -> str:
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in handover.outcomes.items())
    return f"{name}: {counts or 'nothing to tell'}. {handover.problem}".rstrip()


class _Telling:
    """One receiver, in one run."""

    def __init__(
        self, desk: Desk, state: DeliveryState, receiver: Receiver, most_seconds: float
    ) -> None:
        self._desk = desk
        self._state = state
        self._receiver = receiver
        self._ledger = Ledger(desk.warehouse, state.desk)
        self._ends_at = time.monotonic() + most_seconds
        self._handover = Handover()
        self._looked_at = 0.0
        self._source = f"delivery {receiver.name}"
        self._back_off = read_back_off(desk.cursors, self._source)
        self._failures_in_a_row = 0
        self._is_failing = False
        self._unread_labels: tuple[str, frozenset[str]] = ("", frozenset())

    def run(self) -> Handover:
        receiver, name = self._receiver, self._receiver.name
        back_off, now = self._back_off, datetime.now(UTC)
        if back_off.waits(now) and back_off.is_about(receiver.configuration):
            self._handover.problem = (
                f"{back_off.error} The next try is at {back_off.next_try:%Y-%m-%d %H:%M} UTC."
            )
            return self._handover
        self._notice_settings()
        first_day = self._state.first_day(name)
        assert first_day is not None  # noqa: S101  # for the type: `begin` gave it
        receipts: list[Receipt] = []
        while self._goes_on():
            intents = self._ledger.next_intents(
                name,
                since=first_day,
                limit=receiver.batch_size,
                receipts=receipts,
                excluded=self._excluded(),
                reviews=self._desk.settings.delivery_reviews,
            )
            receipts = []
            if not intents:
                break
            receipts = self._tell(intents)
        if receipts:
            self._ledger.record(name, receipts, ())
        self._finish()
        return self._handover

    def _tell(self, intents: Sequence[Intent]) -> list[Receipt]:
        """Tell these; returns the receipts, which are still to be written down."""
        taken: set[str] = set()
        receipts: dict[str, Receipt] = {}

        def feed() -> Iterator[Intent]:
            for intent in intents:
                if not self._goes_on():
                    return
                taken.add(intent.decision.ticket_id)
                yield intent

        try:
            for receipt in self._receiver.deliver(feed()):
                receipts[receipt.ticket_id] = receipt
                self._count(receipt)
        except ReceiverError as error:
            self._fail(error)
        except BaseException:
            self._ledger.record(self._receiver.name, list(receipts.values()), ())
            raise
        if untaken := [
            ticket for intent in intents if (ticket := intent.decision.ticket_id) not in taken
        ]:
            self._ledger.record(self._receiver.name, list(receipts.values()), untaken)
            return []
        if not self._handover.problem:
            for ticket in taken - receipts.keys():
                receipts[ticket] = Receipt(ticket, Outcome.FAILED, "It gives no receipt.")
        return list(receipts.values())

    def _count(self, receipt: Receipt) -> None:
        self._handover.outcomes[receipt.outcome.value] += 1
        is_failure = receipt.outcome is Outcome.FAILED
        self._failures_in_a_row = self._failures_in_a_row + 1 if is_failure else 0
        if self._failures_in_a_row == FAILURES_IN_A_ROW:
            self._fail(ReceiverError(receipt.reason, retry_after=receipt.retry_after))

    def _fail(self, error: ReceiverError) -> None:
        """Leave the receiver alone for some time."""
        if self._is_failing:
            return
        now = datetime.now(UTC)
        failure: Failure = "login" if error.is_refusal else "outage"
        back_off = self._back_off.failed(now, failure, str(error), self._receiver.configuration)
        if error.retry_after and back_off.next_try:
            back_off = replace(back_off, next_try=max(back_off.next_try, now + error.retry_after))
        write_back_off(self._desk.cursors, self._source, back_off)
        self._is_failing = True
        self._handover.problem = str(error)

    def _goes_on(self) -> bool:
        if self._handover.problem:
            return False
        now = time.monotonic()
        if now > self._ends_at:
            self._handover.problem = "It takes long: the next run goes on."
        elif now > self._looked_at + SWITCH_SECONDS:
            self._looked_at = now
            state = read_state(self._desk.cursors)
            if state is None or state.stopped_at:
                self._handover.problem = "Delivery is stopped: `tickets delivery start`."
        return not self._handover.problem

    def _finish(self) -> None:
        if not self._handover.outcomes or self._is_failing:
            return
        if self._back_off.failures:
            write_back_off(
                self._desk.cursors, self._source, self._back_off.succeeded(datetime.now(UTC))
            )
        outcomes = dict(self._handover.outcomes)
        try:
            self._receiver.finish(Finished(str(uuid4()), datetime.now(UTC), outcomes))
        except ReceiverError as error:
            self._fail(error)

    def _notice_settings(self) -> None:
        """With other settings than before, what was refused is told once more, and at once."""
        name, configuration = self._receiver.name, self._receiver.configuration
        former = self._state.configurations.get(name)
        if former is not None and is_salted(configuration, former):
            return
        if former is not None:
            self._ledger.retry(name)
        digest = salted(configuration)
        change_state(
            self._desk.cursors,
            lambda state: replace(state, configurations={**state.configurations, name: digest}),
        )

    def _excluded(self) -> frozenset[str]:
        """Tickets that are labelled or erased, though the tables do not say so yet."""
        landing = self._desk.landing
        labels = labels_fingerprint(landing)
        mail = overall_fingerprint(day_fingerprints(landing, self._desk.cursors))
        origin = read_origins(self._desk.warehouse, "ticket_labels").get(UNPARTITIONED)
        labelled: frozenset[str] = frozenset()
        if origin is None or origin.landed not in {labels, f"{labels} {mail}"}:
            landed = f"{labels} {mail}"
            if self._unread_labels[0] != landed:
                resolved = landing.resolve_labels(self._desk.routing.categories)
                self._unread_labels = landed, frozenset(resolved.labels["ticket_id"])
            labelled = self._unread_labels[1]
        return labelled | landing.erased()
