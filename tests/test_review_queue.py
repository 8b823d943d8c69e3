"""What waits for a person: all of it, the most useful to label first, as a table to fill in."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse_rows import append_rows
from ticket_assets.desk import Desk
from ticket_assets.mail.corrections import land_corrections, open_corrections
from ticket_assets.mail.input_files import InputFile
from ticket_assets.mail.labels import LabelSet
from ticket_assets.review_queue import (
    ORDERED,
    ReviewError,
    most_useful,
    review_queue,
    write_review_csv,
)
from ticket_assets.settings import Settings

NETWORK, PRINTER = [1.0, 0.0], [0.0, 1.0]
DAY = datetime(2026, 3, 2, 9)


def unit(*rows):
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_what_the_last_one_said_comes_after_something_else():
    unsure = np.array([0.5, 0.49, 0.2])

    order = most_useful(unsure, unit(NETWORK, [1, 0.1], PRINTER))

    assert order.tolist() == [0, 2, 1]


def test_without_likeness_the_least_sure_comes_first():
    order = most_useful(np.array([0.1, 0.4, 0.3]), np.eye(3, dtype=np.float32))

    assert order.tolist() == [1, 2, 0]


def test_what_is_not_chosen_follows_by_how_unsure_it_is():
    unsure = np.linspace(0.1, 0.9, ORDERED + 50)

    order = most_useful(unsure, unit(*[NETWORK] * len(unsure)))

    rest = order[ORDERED:]
    assert sorted(order.tolist()) == list(range(len(unsure)))
    assert rest.tolist() == sorted(rest.tolist(), key=lambda ticket: -unsure[ticket])


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(0, 100))
def test_each_ticket_is_listed_once(unsure, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(unsure), 4))

    order = most_useful(np.array(unsure), unit(*vectors) if unsure else np.zeros((0, 4)))

    assert sorted(order.tolist()) == list(range(len(unsure)))


def test_no_ticket_no_order():
    assert most_useful(np.zeros(0), np.zeros((0, 2), np.float32)).tolist() == []


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def desk(settings):
    """Three tickets for a person, one automatic, one labelled, one of long ago."""
    tickets = {
        "a": ("review", "unsure", 0.5, '["network","email"]', "VPN coupé", NETWORK),
        "b": ("review", "unsure", 0.6, '["network"]', "VPN coupé aussi", [1, 0.01]),
        "c": ("review", "unlike_learnt", 0.99, None, "=HYPERLINK(1)\nRecette", PRINTER),
        "auto": ("auto", None, 0.99, None, "VPN", NETWORK),
        "labelled": ("review", "unsure", 0.1, None, "Wifi", NETWORK),
        "old": ("review", "unsure", 0.1, None, "Wifi", NETWORK),
    }
    for name, (decision, reason, confidence, likely, text, vector) in tickets.items():
        row = {
            "ticket_id": name * 20 if len(name) == 1 else name,
            "received_at": DAY.replace(month=1) if name == "old" else DAY,
        }
        append_rows(settings, "clean_tickets", [row | {"text": text, "language": "fr"}])
        append_rows(settings, "ticket_embeddings", [row | {"vector": unit(vector)[0].tolist()}], 2)
        append_rows(
            settings,
            "ticket_predictions",
            [
                row
                | {"decision": decision, "review_reason": reason, "likely": likely}
                | {"category_confidence": confidence}
            ],
        )
    append_rows(settings, "ticket_labels", [{"ticket_id": "labelled", "category": "network"}])
    return Desk(settings)


@pytest.mark.slow
def test_what_waits_is_listed_and_the_strangest_first(desk):
    waiting = review_queue(desk, days=30)

    assert waiting["ticket_id"].str[0].tolist() == ["c", "a", "b"]
    assert waiting["likely"].tolist() == [None, ["network", "email"], ["network"]]
    assert len(review_queue(desk, days=90)) == 4


@pytest.mark.slow
def test_a_table_that_was_filled_in_is_taken(desk, tmp_path):
    path = tmp_path / "monday.csv"
    write_review_csv(review_queue(desk, days=30), path)
    rows = pd.read_csv(path, dtype=str)
    assert rows["likely"].fillna("").tolist() == ["", "network, email", "network"]
    assert rows["about"].tolist() == ["'=HYPERLINK(1) Recette", "VPN coupé", "VPN coupé aussi"]
    rows.loc[1, "category"] = "network"
    rows.to_csv(path, index=False)

    corrections = open_corrections(InputFile(path))
    report = land_corrections(desk.landing, corrections, LabelSet(["network"], ["low"]))

    # The ticket is of this test alone, and has not landed: that it was read is what counts.
    assert list(report.problems) == [f"row 2: there is no ticket {'a' * 20!r} here"]


@pytest.mark.slow
def test_a_table_that_is_there_is_not_written_over(desk, tmp_path):
    path = tmp_path / "monday.csv"
    path.write_text("filled in")

    with pytest.raises(FileExistsError):
        write_review_csv(review_queue(desk, days=30), path)
    assert path.read_text() == "filled in"


def test_before_the_first_run_there_is_nothing_to_review(settings):
    with pytest.raises(ReviewError, match="tickets run"):
        review_queue(Desk(settings), days=30)
