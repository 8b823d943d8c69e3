"""What a drift report keeps of a day beside its distances, and what it must not keep."""

import json

import numpy as np
import pandas as pd
import pytest

from ticket_assets.drift.day_figures import LABELS, RARER, UNKNOWN, Distributions, day_figures
from ticket_assets.drift.report import CATEGORICAL, NUMERICAL

TICKETS = pd.DataFrame(
    {
        "ticket_id": ["0123456789abcdef0123", "1" * 20, "2" * 20, "3" * 20],
        "language": ["fr", "fr", "de", None],
        "character_count": [10, 20, 30, 1000],
        "text_hash": ["hash1", "hash1", "hash2", "hash3"],
        "tokens": ["durand imprimante", "durand imprimante", "drucker", "???"],
        "unknown_words": [("durand",), ("durand",), (), ()],
        "vector": [np.ones(4, np.float32), np.ones(4, np.float32), np.ones(4, np.float32), None],
        "category": ["printing", "printing", "network", "network"],
        "category_confidence": [0.9, 0.9, 0.5, 0.3],
        "oov_share": [0.0, 0.0, 0.5, 0.5],
        "decision": ["auto", "auto", "review", "review"],
    }
)


def test_a_day_has_the_figures_that_a_person_asks_for():
    figures = day_figures(TICKETS)

    assert figures["tickets"] == {"tickets": 4}
    assert figures["languages"] == {"fr": 0.5, "de": 0.25, UNKNOWN: 0.25}
    assert figures["characters"] == {"median": 25, "90th percentile": 709}
    assert figures["quality"] == {
        "copies of another text": 0.25,
        "language unknown": 0.25,
        "without a vector": 0.25,
        "words unknown to the training": 0.25,
    }
    assert figures["sorting"] == {"automatic": 0.5, "confidence": 0.65}


def test_a_day_without_mail_has_the_number_of_its_tickets():
    assert day_figures(TICKETS[:0]) == {"tickets": {"tickets": 0}}


def test_a_figure_that_is_no_number_is_left_out():
    figures = day_figures(TICKETS.assign(oov_share=np.nan))

    assert "words unknown to the training" not in figures["quality"]
    json.dumps(figures, allow_nan=False)


def test_numbers_are_spread_over_the_bins_of_the_reference_and_outliers_are_in_the_last():
    reference = pd.DataFrame({"length": np.arange(101.0)})

    spread = Distributions(reference, [], ["length"]).beside(pd.DataFrame({"length": [5.0, 1e9]}))

    length = spread["length"]
    assert sum(length["reference"].values()) == pytest.approx(1, abs=0.01)
    assert [share for share in length["current"].values() if share] == [0.5, 0.5]
    assert list(length["current"].values())[-1] == 0.5


def test_rare_categories_count_as_one():
    reference = pd.DataFrame({"category": [f"c{n}" for n in range(60) for _ in range(60 - n)]})

    spread = Distributions(reference, ["category"], []).beside(
        pd.DataFrame({"category": ["c0", "c59", "new"]})
    )

    assert len(spread["category"]["reference"]) == LABELS
    assert spread["category"]["current"] == {"c0": 0.3333, RARER: 0.6667}


def test_a_column_of_one_value_has_no_bins():
    reference = pd.DataFrame({"length": [1.0, 1.0], "empty": [np.nan, np.nan]})

    assert Distributions(reference, [], ["length", "empty"]).beside(reference) == {}


def test_what_is_kept_holds_neither_texts_nor_ids_and_is_small():
    spread = Distributions(TICKETS, CATEGORICAL, NUMERICAL).beside(TICKETS)

    kept = json.dumps([day_figures(TICKETS), spread])

    assert set(spread) == {*CATEGORICAL, *NUMERICAL}
    for personal in ("durand", "drucker", *TICKETS["ticket_id"], *TICKETS["text_hash"]):
        assert personal not in kept
    assert len(kept) < 6_000
