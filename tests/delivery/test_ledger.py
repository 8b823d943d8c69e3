from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.days import now
from tests.delivery.decided import decided_desk
from tests.delivery.decided import ticket as a_ticket
from tests.warehouse_rows import append_rows
from ticket_assets.delivery.ledger import UNKNOWN_LIMIT, Ledger
from ticket_assets.delivery.receivers import Outcome, Receipt
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings

DAY = date(2026, 11, 20)
DESK = str(UUID(int=1))


def ticket(number: int, **columns: Any) -> dict[str, Any]:
    received_at = datetime(2026, 11, 20, 8) + timedelta(minutes=number)
    return a_ticket(number, **{"received_at": received_at} | columns)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path)
    decided_desk(settings)
    return settings


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    return Ledger(Desk(settings).warehouse, DESK)


def stored(settings: Settings) -> dict[str, Mapping[str, Any]]:
    rows = Desk(settings).warehouse.frame("from delivered_tickets").to_dict("records")
    return {row["ticket_id"].lstrip("0"): row for row in rows}


def intended(ledger: Ledger, **changes: Any) -> list[str]:
    asked: dict[str, Any] = {"since": DAY, "limit": 100} | changes
    return [
        intent.decision.ticket_id.lstrip("0") for intent in ledger.next_intents("webhook", **asked)
    ]


@pytest.mark.parametrize("reason", ["audit", "suspended"])
def test_an_audit_is_told_like_what_the_model_is_unsure_of(
    settings: Settings, ledger: Ledger, reason: str
) -> None:
    likely = '["network", "printer"]'
    audit = ticket(1, decision="review", review_reason=reason, likely=likely, queue="triage")
    unsure = ticket(2, decision="review", review_reason="unsure", likely=likely, queue="triage")
    append_rows(settings, "ticket_predictions", [audit, unsure])

    first, second = [
        replace(intent.decision, ticket_id="", received_at=datetime.min)
        for intent in ledger.next_intents("webhook", since=DAY, limit=9)
    ]

    assert first == second


def receipts(outcome: Outcome, *numbers: int, **fields: Any) -> list[Receipt]:
    return [Receipt(f"{number:020d}", outcome, **fields) for number in numbers]


def test_what_a_person_has_to_decide_is_not_told_as_decided(
    settings: Settings, ledger: Ledger
) -> None:
    append_rows(
        settings,
        "ticket_predictions",
        [
            ticket(1),
            ticket(
                2,
                decision="review",
                review_reason="unsure",
                likely='["network", "printer"]',
                queue="triage",
            ),
            ticket(3, decided_by="conversation", priority_decision="auto"),
        ],
    )
    append_rows(settings, "raw_tickets", [{"ticket_id": f"{1:020d}", "message_id": "<1@x>"}])

    sure, review, reply = [
        intent.decision for intent in ledger.next_intents("webhook", since=DAY, limit=9)
    ]

    assert (sure.category, sure.category_confidence, sure.priority) == ("network", 0.97, None)
    assert (sure.message_id, sure.likely, sure.review_reason) == ("<1@x>", (), None)
    assert (review.category, review.category_confidence) == (None, None)
    assert (review.likely, review.queue) == (("network", "printer"), "triage")
    # The confidence is the model's, and the category is not.
    assert (reply.category, reply.category_confidence) == ("network", None)
    assert (reply.priority, reply.priority_confidence) == ("high", 0.6)


def test_only_tickets_from_the_day_on_that_no_person_has_labelled(
    settings: Settings, ledger: Ledger
) -> None:
    append_rows(
        settings,
        "ticket_predictions",
        [
            ticket(1, received_at=datetime(2026, 11, 19, 23, 59)),
            ticket(2),
            ticket(3),
            ticket(4, decision="labelled", decided_by="person"),
            ticket(5),
        ],
    )
    append_rows(settings, "ticket_labels", [{"ticket_id": f"{3:020d}", "priority": "low"}])

    assert intended(ledger, excluded=[f"{5:020d}"]) == ["2"]


@pytest.mark.slow
def test_an_intent_without_a_receipt_comes_again_with_its_key_and_what_it_said(
    settings: Settings, ledger: Ledger
) -> None:
    append_rows(settings, "ticket_predictions", [ticket(1), ticket(2)])
    first = ledger.next_intents("webhook", since=DAY, limit=1)
    with Desk(settings).warehouse.transaction() as connection:
        connection.execute("update tickets.ticket_predictions set category = 'printer'")

    # Of a process that came after one that was killed.
    again = ledger.next_intents("webhook", since=DAY, limit=100)
    others = ledger.next_intents(
        "webhook", since=DAY, limit=100, receipts=receipts(Outcome.DELIVERED, 1)
    )

    assert again == first
    assert [intent.decision.category for intent in others] == ["printer"]
    assert others[0].batch != first[0].batch
    assert stored(settings)["1"]["tries"] == 2


def test_each_receiver_has_its_own_keys(settings: Settings, ledger: Ledger) -> None:
    append_rows(settings, "ticket_predictions", [ticket(1)])

    (one,) = ledger.next_intents("webhook", since=DAY, limit=1)
    (other,) = ledger.next_intents("folder", since=DAY, limit=1)
    (elsewhere,) = Ledger(Desk(settings).warehouse, str(UUID(int=2))).next_intents(
        "webhook", since=DAY, limit=1
    )

    assert one.key != other.key
    # Of the same ledger: the key stays that of the first time.
    assert elsewhere.key == one.key
    assert UUID(one.key)


@pytest.mark.slow
def test_what_failed_comes_again_later_and_what_was_refused_never(
    settings: Settings, ledger: Ledger
) -> None:
    append_rows(settings, "ticket_predictions", [ticket(number) for number in range(1, 6)])
    assert intended(ledger) == ["1", "2", "3", "4", "5"]

    answers = [
        *receipts(Outcome.DELIVERED, 1, reference="T-1"),
        *receipts(Outcome.FAILED, 2, reason="It answers 503."),
        *receipts(Outcome.FAILED, 3, retry_after=timedelta(hours=3)),
        *receipts(Outcome.REFUSED, 4, reason="It answers 422."),
        *receipts(Outcome.TAKEN, 5),
    ]
    assert intended(ledger, receipts=answers) == []

    rows = stored(settings)
    assert {number: row["outcome"] for number, row in rows.items()} == {
        "1": "delivered",
        "2": "failed",
        "3": "failed",
        "4": "refused",
        "5": "taken",
    }
    assert rows["1"]["reference"] == "T-1"
    assert rows["2"]["next_try_at"] - rows["2"]["outcome_at"] == timedelta(minutes=1)
    assert rows["3"]["next_try_at"] - rows["3"]["outcome_at"] == timedelta(hours=3)


def test_what_failed_under_a_clock_that_was_ahead_is_due_when_it_is_right_again(
    settings: Settings, ledger: Ledger
) -> None:
    append_rows(settings, "ticket_predictions", [ticket(1)])
    intended(ledger)
    intended(ledger, receipts=receipts(Outcome.FAILED, 1))
    with Desk(settings).warehouse.transaction() as connection:
        connection.execute(
            "update tickets.delivered_tickets set outcome_at = outcome_at + interval 1 year,"
            " next_try_at = next_try_at + interval 1 year"
        )

    assert intended(ledger) == ["1"]


@pytest.mark.slow
def test_a_ticket_that_the_receiver_does_not_know_is_refused_after_some_days(
    settings: Settings, ledger: Ledger
) -> None:
    append_rows(settings, "ticket_predictions", [ticket(1)])
    intended(ledger)
    intended(ledger, receipts=receipts(Outcome.UNKNOWN, 1))
    assert stored(settings)["1"]["outcome"] == "unknown"
    with Desk(settings).warehouse.transaction() as connection:
        connection.execute(
            "update tickets.delivered_tickets set next_try_at = null, intended_at = ?",
            [now() - UNKNOWN_LIMIT],
        )

    assert intended(ledger) == ["1"]
    assert intended(ledger, receipts=receipts(Outcome.UNKNOWN, 1)) == []
    assert stored(settings)["1"]["outcome"] == "refused"


@pytest.mark.slow
def test_a_ticket_that_a_person_labels_before_it_is_delivered_is_withdrawn(
    settings: Settings, ledger: Ledger
) -> None:
    append_rows(settings, "ticket_predictions", [ticket(1), ticket(2)])
    intended(ledger)
    append_rows(settings, "ticket_labels", [{"ticket_id": f"{1:020d}", "category": "printer"}])

    assert intended(ledger, receipts=receipts(Outcome.DELIVERED, 2)) == []
    assert stored(settings)["1"]["outcome"] == "labelled"


def test_what_was_not_taken_is_as_if_never_intended(settings: Settings, ledger: Ledger) -> None:
    append_rows(settings, "ticket_predictions", [ticket(1), ticket(2)])
    intended(ledger)

    ledger.record("webhook", (), untaken=[f"{2:020d}"])

    assert list(stored(settings)) == ["1"]


def test_nothing_is_written_again_of_a_ticket_that_was_erased_meanwhile(
    settings: Settings, ledger: Ledger
) -> None:
    append_rows(settings, "ticket_predictions", [ticket(1)])
    intended(ledger)
    with Desk(settings).warehouse.transaction() as connection:
        connection.execute("delete from tickets.delivered_tickets")
        connection.execute("delete from tickets.ticket_predictions")

    assert intended(ledger, receipts=receipts(Outcome.DELIVERED, 1)) == []
    assert stored(settings) == {}
