"""What a person has said of a ticket holds, whenever it was said; else what the model decided; else
what was decided of the conversation."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ticket_assets.classification.decisions import ANSWER, HELD, decide, follow_labels, queues
from ticket_assets.routing import Routing
from ticket_assets.storage.tables import TABLES
from ticket_assets.storage.warehouse import DuckDBFile, ensure_table

ROUTING = Routing(
    queues={"email": "messaging", "network": "infrastructure", "printing": "workplace"},
    priorities=("low", "high"),
    review_queue="triage",
)
FIRST = date(2025, 6, 1)
TICKETS = {
    "sure": (0, "sure", "email", "low", "auto", "auto"),
    "unsure": (1, "unsure", "network", "low", "review", "review"),
    "without a priority": (2, "without a priority", "email", None, "auto", None),
    "unsure reply": (3, "sure", "network", "high", "review", "review"),
    "sure reply": (4, "sure", "printing", "low", "auto", "auto"),
    "reply to unsure": (5, "unsure", "printing", "low", "review", "review"),
}
"""By ticket_id the day, the conversation, and the model's answer."""
DAYS = {name: FIRST + timedelta(days=ticket[0]) for name, ticket in TICKETS.items()}


def labels(given: dict[str, tuple[str | None, str | None]]) -> pd.DataFrame:
    rows = [(ticket, *label) for ticket, label in given.items()]
    return pd.DataFrame(rows, columns=["ticket_id", "category", "priority"], dtype=object)


def insert(warehouse: DuckDBFile, table: str, rows: pd.DataFrame) -> None:
    with warehouse.transaction() as connection:
        ensure_table(connection, TABLES[table])
        connection.register("rows_of_it", rows)
        connection.execute(f"insert into tickets.{table} by name from rows_of_it")


def predict(
    warehouse: DuckDBFile, *names: str, audit_share: float = 0.0, **answer: str
) -> set[date]:
    """Write the predictions of these tickets, each of a day of its own, one after the other; the
    other days that changed with the last one."""
    changed: set[date] = set()
    for name in names:
        row: dict[str, Any] = dict(zip(ANSWER, TICKETS[name][2:], strict=True)) | answer
        row["review_reason"] = "unsure" if row["model_decision"] == "review" else None
        row.setdefault("model_version", "1")
        row |= {"ticket_id": name, "received_at": pd.Timestamp(DAYS[name])}
        predicted = pd.DataFrame([row])
        held, changed = decide(warehouse, predicted, [DAYS[name]], ROUTING, audit_share)
        predicted = predicted.drop(columns="review_reason")
        with warehouse.transaction() as connection:
            connection.execute("delete from tickets.ticket_predictions where ticket_id = ?", [name])
        insert(warehouse, "ticket_predictions", pd.concat([predicted, held], axis=1))
    return changed


@pytest.fixture
def mail(tmp_path: Path) -> DuckDBFile:
    """The tickets with their conversations, without a label and a prediction."""
    warehouse = DuckDBFile(tmp_path / "warehouse.duckdb")
    threads = [(name, ticket[1]) for name, ticket in TICKETS.items()]
    insert(warehouse, "raw_tickets", pd.DataFrame(threads, columns=["ticket_id", "thread_id"]))
    insert(warehouse, "ticket_labels", labels({}))
    return warehouse


@pytest.fixture
def warehouse(mail: DuckDBFile) -> DuckDBFile:
    """All predicted, in the order of their days."""
    predict(mail, *TICKETS)
    return mail


def held(warehouse: DuckDBFile) -> dict[str, tuple[str | None, ...]]:
    rows = warehouse.frame("from ticket_predictions").set_index("ticket_id")[[*HELD, "queue"]]
    return {ticket: tuple(values) for ticket, *values in rows.itertuples(name=None)}


def answers(warehouse: DuckDBFile) -> pd.DataFrame:
    return warehouse.frame("from ticket_predictions order by ticket_id")[["ticket_id", *ANSWER]]


UNTOUCHED = {
    "sure": ("email", "low", "auto", "auto", "model", "messaging"),
    "unsure": ("network", "low", "review", "review", "model", "triage"),
    "without a priority": ("email", None, "auto", None, "model", "messaging"),
    "unsure reply": ("email", "high", "auto", "review", "conversation", "messaging"),
    "sure reply": ("printing", "low", "auto", "auto", "model", "workplace"),
    "reply to unsure": ("printing", "low", "review", "review", "model", "triage"),
}


@pytest.mark.slow
def test_without_a_label_the_model_decides_and_else_the_conversation(warehouse):
    assert held(warehouse) == UNTOUCHED


@pytest.mark.slow
@pytest.mark.parametrize("names", [list(TICKETS)[::-1], sorted(TICKETS)])
def test_days_in_any_order_end_with_the_same_decisions(mail, names):
    predict(mail, *names)

    assert held(mail) == UNTOUCHED


@pytest.mark.slow
def test_a_first_ticket_that_is_decided_otherwise_takes_its_unsure_replies_with_it(warehouse):
    assert predict(warehouse, "sure") == set()

    changed = predict(warehouse, "sure", model_category="network")

    assert changed == {DAYS["unsure reply"]}
    reply = ("network", "high", "auto", "review", "conversation", "infrastructure")
    first = ("network", "low", "auto", "auto", "model", "infrastructure")
    assert held(warehouse) == {**UNTOUCHED, "sure": first, "unsure reply": reply}
    assert predict(warehouse, "sure", model_decision="review") == {DAYS["unsure reply"]}
    alone = ("network", "high", "review", "review", "model", "triage")
    assert held(warehouse)["unsure reply"] == alone


@pytest.mark.slow
def test_a_label_of_the_first_ticket_holds_for_its_unsure_replies(warehouse):
    changed = follow_labels(warehouse, labels({"unsure": ("email", None)}), ROUTING)

    assert changed == {DAYS["unsure"], DAYS["reply to unsure"]}
    assert held(warehouse) == {
        **UNTOUCHED,
        "unsure": ("email", "low", "labelled", "review", "person", "messaging"),
        "reply to unsure": ("email", "low", "auto", "review", "conversation", "messaging"),
    }


@pytest.mark.slow
def test_a_label_of_a_reply_is_of_the_reply_alone(warehouse):
    said = labels({"reply to unsure": ("email", None)})

    assert follow_labels(warehouse, said, ROUTING) == {DAYS["reply to unsure"]}
    assert held(warehouse)["unsure"] == UNTOUCHED["unsure"]


@pytest.mark.slow
def test_a_label_that_comes_later_holds_until_it_is_changed_or_gone(warehouse):
    before = answers(warehouse)
    ticket = "without a priority"

    first = labels({ticket: ("printing", None)})
    assert follow_labels(warehouse, first, ROUTING) == {DAYS[ticket]}
    given = ("printing", None, "labelled", None, "person", "workplace")
    assert held(warehouse) == {**UNTOUCHED, ticket: given}

    changed = labels({ticket: ("network", None), "sure reply": ("network", "high")})
    assert follow_labels(warehouse, changed, ROUTING) == {DAYS[ticket], DAYS["sure reply"]}
    assert held(warehouse) == {
        **UNTOUCHED,
        ticket: ("network", None, "labelled", None, "person", "infrastructure"),
        "sure reply": ("network", "high", "labelled", "labelled", "person", "infrastructure"),
    }

    assert follow_labels(warehouse, changed, ROUTING) == set()
    assert follow_labels(warehouse, labels({}), ROUTING) == {DAYS[ticket], DAYS["sure reply"]}
    assert held(warehouse) == UNTOUCHED
    assert before.equals(answers(warehouse))


@pytest.mark.slow
def test_a_label_of_the_priority_alone_leaves_the_category_to_the_model(warehouse):
    follow_labels(warehouse, labels({"without a priority": (None, "high")}), ROUTING)

    decided = ("email", "high", "auto", "labelled", "model", "messaging")
    assert held(warehouse)["without a priority"] == decided


@pytest.mark.slow
def test_a_label_that_the_routing_file_no_longer_has_goes_where_people_look(warehouse):
    follow_labels(warehouse, labels({"sure": ("telephones", None)}), ROUTING)

    assert held(warehouse)["sure"][-2:] == ("person", "triage")


def test_a_desk_that_has_predicted_nothing_has_nothing_to_follow(tmp_path):
    empty = DuckDBFile(tmp_path / "none.duckdb")

    assert follow_labels(empty, labels({"sure": ("email", None)}), ROUTING) == set()
    assert not empty.exists


GIVEN = st.dictionaries(
    st.sampled_from(sorted(TICKETS)),
    st.tuples(
        st.sampled_from([None, "email", "network", "printing"]), st.sampled_from([None, "low"])
    ),
)


@pytest.mark.slow
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(GIVEN, min_size=1, max_size=3))
def test_whatever_was_said_before_what_is_said_last_holds(warehouse, history):
    follow_labels(warehouse, labels(history[-1]), ROUTING)
    expected = held(warehouse)
    for said in history:
        follow_labels(warehouse, labels(said), ROUTING)

    now = held(warehouse)
    assert now == expected
    for ticket in TICKETS:
        category, priority = history[-1].get(ticket, (None, None))
        assert (now[ticket][2] == "labelled") == (category is not None)
        assert now[ticket][0] == category or category is None
        assert (now[ticket][3] == "labelled") == (priority is not None)


def test_what_is_decided_goes_to_its_queue_and_stays_for_review_in_shadow_mode():
    routing = Routing({"network": "net-ops"}, ("low",), "triage")
    tickets = pd.DataFrame(
        {"category": ["network", "network", "former"], "decision": ["auto", "review", "auto"]}
    )

    assert queues(tickets, routing).tolist() == ["net-ops", "triage", "triage"]
    assert queues(tickets, replace(routing, is_shadow=True)).tolist() == ["triage"] * 3
