"""What a person has said of a ticket holds, whenever it was said; else what the model decided."""

from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ticket_assets.classification.decisions import HELD, decide, follow_labels
from ticket_assets.routing import Routing
from ticket_assets.storage.tables import TABLES
from ticket_assets.storage.warehouse import DuckDBFile, ensure_table

ROUTING = Routing(
    queues={"email": "messaging", "network": "infrastructure", "printing": "workplace"},
    priorities=("low", "high"),
    review_queue="triage",
)
MODEL = ("model_category", "model_decision", "model_priority", "model_priority_decision")
ANSWERS = {
    "sure": ("email", "auto", "low", "auto"),
    "unsure": ("network", "review", "low", "review"),
    "without a priority": ("email", "auto", None, None),
}
DAYS = {name: date(2025, 6, 1 + place) for place, name in enumerate(ANSWERS)}


def labels(given: dict[str, tuple[str | None, str | None]]) -> pd.DataFrame:
    rows = [(ticket, *label) for ticket, label in given.items()]
    return pd.DataFrame(rows, columns=["ticket_id", "category", "priority"], dtype=object)


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBFile:
    """The model's answers, and no label yet."""
    warehouse = DuckDBFile(tmp_path / "warehouse.duckdb")
    of_model = pd.DataFrame.from_dict(ANSWERS, orient="index", columns=MODEL)
    of_model = of_model.rename_axis("ticket_id").reset_index()
    received = [datetime(day.year, day.month, day.day, 9) for day in DAYS.values()]
    rows = pd.concat([of_model, decide(of_model, labels({}), ROUTING)], axis=1)
    with warehouse.transaction() as connection:
        ensure_table(connection, TABLES["ticket_predictions"])
        connection.register("predicted", rows.assign(received_at=received))
        connection.execute("insert into tickets.ticket_predictions by name from predicted")
    return warehouse


def held(warehouse: DuckDBFile) -> dict[str, tuple[str | None, ...]]:
    rows = warehouse.frame("from ticket_predictions").set_index("ticket_id")[list(HELD)]
    return {ticket: tuple(values) for ticket, *values in rows.itertuples(name=None)}


def answers(warehouse: DuckDBFile) -> pd.DataFrame:
    rows = warehouse.frame("from ticket_predictions order by ticket_id")
    return rows[["ticket_id", *MODEL]]


UNTOUCHED = {
    "sure": ("email", "low", "auto", "auto", "model", "messaging"),
    "unsure": ("network", "low", "review", "review", "model", "triage"),
    "without a priority": ("email", None, "auto", None, "model", "messaging"),
}


def test_without_a_label_the_model_decides(warehouse):
    assert held(warehouse) == UNTOUCHED


def test_a_label_that_comes_later_holds_until_it_is_changed_or_gone(warehouse):
    before = answers(warehouse)

    first = labels({"sure": ("printing", None)})
    assert follow_labels(warehouse, first, ROUTING) == {DAYS["sure"]}
    given = ("printing", "low", "labelled", "auto", "person", "workplace")
    assert held(warehouse) == {**UNTOUCHED, "sure": given}

    changed = labels({"sure": ("network", None), "unsure": ("network", "high")})
    assert follow_labels(warehouse, changed, ROUTING) == {DAYS["sure"], DAYS["unsure"]}
    assert held(warehouse) == {
        **UNTOUCHED,
        "sure": ("network", "low", "labelled", "auto", "person", "infrastructure"),
        "unsure": ("network", "high", "labelled", "labelled", "person", "infrastructure"),
    }

    assert follow_labels(warehouse, changed, ROUTING) == set()
    assert follow_labels(warehouse, labels({}), ROUTING) == {DAYS["sure"], DAYS["unsure"]}
    assert held(warehouse) == UNTOUCHED
    assert before.equals(answers(warehouse))


def test_a_label_of_the_priority_alone_leaves_the_category_to_the_model(warehouse):
    follow_labels(warehouse, labels({"without a priority": (None, "high")}), ROUTING)

    decided = ("email", "high", "auto", "labelled", "model", "messaging")
    assert held(warehouse)["without a priority"] == decided


def test_a_label_that_the_routing_file_no_longer_has_goes_where_people_look(warehouse):
    follow_labels(warehouse, labels({"sure": ("telephones", None)}), ROUTING)

    assert held(warehouse)["sure"][-2:] == ("person", "triage")


def test_a_desk_that_has_predicted_nothing_has_nothing_to_follow(tmp_path):
    empty = DuckDBFile(tmp_path / "none.duckdb")

    assert follow_labels(empty, labels({"sure": ("email", None)}), ROUTING) == set()
    assert not empty.exists


GIVEN = st.dictionaries(
    st.sampled_from(sorted(ANSWERS)),
    st.tuples(
        st.sampled_from([None, "email", "network", "printing"]), st.sampled_from([None, "low"])
    ),
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(GIVEN, min_size=1, max_size=3))
def test_whatever_was_said_before_what_is_said_last_holds(warehouse, history):
    for said in history:
        follow_labels(warehouse, labels(said), ROUTING)

    of_model = answers(warehouse)
    expected = decide(of_model, labels(history[-1]), ROUTING).set_axis(of_model["ticket_id"])
    now = held(warehouse)
    assert now == {
        ticket: tuple(None if pd.isna(value) else value for value in row)
        for ticket, *row in expected.itertuples(name=None)
    }
    for ticket, (category, priority) in history[-1].items():
        assert (now[ticket][2] == "labelled") == (category is not None)
        assert (now[ticket][3] == "labelled") == (priority is not None)
