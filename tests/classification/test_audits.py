"""A random share of what the model is sure of goes to a person, and so do suspended labels; what
had been decided before a person spoke is kept."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from tests.classification.test_decisions import (
    DAYS,
    ROUTING,
    TICKETS,
    insert,
    labels,
    predict,
)
from ticket_assets.classification.decisions import decide, follow_labels
from ticket_assets.storage.warehouse import DuckDBFile

ALL = 0.999
"""Of the tickets named below all are chosen at this share."""


def is_chosen(ticket_id: str, share: float) -> bool:
    digest = hashlib.sha256(f"audit {ticket_id}".encode()).hexdigest()
    return int(digest[:13], 16) < share * 16**13


@pytest.fixture
def mail(tmp_path: Path) -> DuckDBFile:
    """The tickets without predictions, of a desk where people labelled one that is as old."""
    warehouse = DuckDBFile(tmp_path / "warehouse.duckdb")
    threads = [(name, ticket[1]) for name, ticket in TICKETS.items()]
    insert(warehouse, "raw_tickets", pd.DataFrame(threads, columns=["ticket_id", "thread_id"]))
    other = labels({"other": ("network", None)}).assign(labelled_at=pd.Timestamp(2025, 6, 1))
    insert(warehouse, "ticket_labels", other)
    return warehouse


def of(warehouse: DuckDBFile, ticket: str) -> dict[str, Any]:
    rows = warehouse.frame("from ticket_predictions where ticket_id = ?", [ticket])
    return dict(rows.astype(object).where(rows.notna(), None).iloc[0])


def suspend(warehouse: DuckDBFile, label: str, reset_at: datetime | None = None) -> None:
    row = {"label": label, "tripped_at": datetime(2025, 6, 2), "model_version": "1"}
    row |= {"reset_at": reset_at}
    insert(warehouse, "suspended_labels", pd.DataFrame([row]))


def test_an_audit_goes_where_people_look_and_keeps_what_the_model_said(mail):

    predict(mail, "sure", audit_share=ALL)

    ticket = of(mail, "sure")
    assert (ticket["decision"], ticket["queue"], ticket["review_reason"]) == (
        "review",
        "triage",
        "audit",
    )
    assert (ticket["model_decision"], ticket["model_category"]) == ("auto", "email")


@pytest.mark.parametrize(("share", "seed"), [(0.02, 0), (0.2, 1)])
def test_the_ids_alone_choose_whatever_the_category_and_the_confidence(mail, share, seed):
    rng = np.random.default_rng(seed)
    count = 5_000
    tickets = pd.DataFrame(
        {
            "ticket_id": [
                hashlib.sha256(f"{seed} {n}".encode()).hexdigest()[:20] for n in range(count)
            ],
            "received_at": pd.Timestamp(DAYS["sure"]),
            "model_category": rng.choice(
                ["email", "network", "printing"], count, p=[0.7, 0.2, 0.1]
            ),
            "model_decision": "auto",
            "model_priority": None,
            "model_priority_decision": None,
            "review_reason": None,
            "model_version": "1",
        }
    )

    held, _ = decide(mail, tickets, [DAYS["sure"]], ROUTING, share)

    chosen = held["review_reason"] == "audit"
    assert chosen.tolist() == [is_chosen(ticket, share) for ticket in tickets["ticket_id"]]
    assert set(held["decision"][chosen]) == {"review"}
    assert set(held["decision"][~chosen]) == {"auto"}
    for _, of_label in chosen.groupby(tickets["model_category"]):
        assert binomtest(int(of_label.sum()), len(of_label), share).pvalue > 0.001


@pytest.mark.parametrize(("labelled_at", "is_audit"), [("2025-05-03", True), ("2025-05-01", False)])
def test_nothing_is_audited_where_nobody_labels(mail, labelled_at, is_audit):
    with mail.transaction() as connection:
        connection.execute("update tickets.ticket_labels set labelled_at = ?", [labelled_at])

    predict(mail, "sure", audit_share=ALL)

    assert (of(mail, "sure")["review_reason"] == "audit") == is_audit


@pytest.mark.slow
def test_another_share_holds_for_other_tickets_and_leaves_what_was_decided(mail):
    predict(mail, "sure", "sure reply", audit_share=0.0)
    predict(mail, "sure", audit_share=ALL)
    assert of(mail, "sure")["decision"] == "auto"

    predict(mail, "sure", model_decision="review", audit_share=ALL)
    predict(mail, "sure", audit_share=ALL)
    assert of(mail, "sure")["review_reason"] == "audit"

    predict(mail, "sure", audit_share=0.0)
    assert of(mail, "sure")["review_reason"] == "audit"


@pytest.mark.slow
def test_a_reply_to_an_audit_waits_with_it_until_a_person_has_looked(mail):
    predict(mail, "sure", "unsure reply", audit_share=ALL)
    assert of(mail, "unsure reply")["decision"] == "review"

    follow_labels(mail, labels({"sure": ("printing", None)}), ROUTING)

    reply = of(mail, "unsure reply")
    assert (reply["category"], reply["decided_by"]) == ("printing", "conversation")


def former(warehouse: DuckDBFile, ticket: str) -> tuple[str | None, ...]:
    row = of(warehouse, ticket)
    return row["former_category"], row["former_decision"], row["former_model_version"]


@pytest.mark.slow
def test_what_was_decided_before_a_person_spoke_is_kept_whatever_comes_later(mail):
    predict(mail, "sure", "without a priority", "unsure", audit_share=ALL)
    said = {
        "sure": ("printing", None),
        "without a priority": ("email", None),
        "unsure": ("network", None),
    }
    expected = {
        "sure": ("email", "audit", "1"),
        "without a priority": ("email", "audit", "1"),
        "unsure": ("network", "review", "1"),
    }

    follow_labels(mail, labels(said), ROUTING)
    assert {ticket: former(mail, ticket) for ticket in said} == expected

    with mail.transaction() as connection:
        connection.execute("delete from tickets.ticket_labels")
    insert(mail, "ticket_labels", labels(said))
    another = {"model_category": "printing", "model_decision": "auto", "model_version": "2"}
    predict(mail, *said, audit_share=ALL, **another)
    follow_labels(mail, labels(said | {"sure": ("network", None)}), ROUTING)
    assert {ticket: former(mail, ticket) for ticket in said} == expected

    follow_labels(mail, labels({}), ROUTING)
    assert {former(mail, ticket) for ticket in said} == {(None, None, None)}


@pytest.mark.slow
def test_a_label_that_was_there_first_leaves_nothing_decided_before_it(mail):
    insert(mail, "ticket_labels", labels({"sure": ("email", None)}))

    predict(mail, "sure", audit_share=ALL)
    predict(mail, "sure", audit_share=ALL)

    assert of(mail, "sure")["decision"] == "labelled"
    assert former(mail, "sure") == (None, None, None)


@pytest.mark.slow
def test_no_new_ticket_of_a_suspended_label_is_automatic(mail):
    suspend(mail, "email")
    suspend(mail, "printing", reset_at=datetime(2025, 6, 3))

    predict(mail, *TICKETS)

    reasons = {ticket: of(mail, ticket)["review_reason"] for ticket in TICKETS}
    assert reasons == {
        "sure": "suspended",
        "unsure": "unsure",
        "without a priority": "suspended",
        "unsure reply": "unsure",
        "sure reply": None,
        "reply to unsure": "unsure",
    }
    rows = mail.rows("select category from ticket_predictions where decision = 'auto'")
    assert rows == [("printing",)]


@pytest.mark.slow
def test_a_reply_to_what_was_automatic_before_waits_and_what_was_handed_on_stays(mail):
    predict(mail, "sure")
    suspend(mail, "email")

    predict(mail, "unsure reply")
    follow_labels(mail, labels({}), ROUTING)

    assert of(mail, "sure")["decision"] == "auto"
    reply = of(mail, "unsure reply")
    assert (reply["decision"], reply["review_reason"]) == ("review", "suspended")

    follow_labels(mail, labels({"sure": ("email", None)}), ROUTING)
    assert of(mail, "unsure reply")["decided_by"] == "conversation"


@pytest.mark.slow
def test_another_champion_is_not_suspended_for_what_the_former_one_did(mail):
    suspend(mail, "email")
    predict(mail, "sure")

    predict(mail, "sure", model_version="2")

    assert of(mail, "sure")["decision"] == "auto"
