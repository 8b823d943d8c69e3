from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ticket_assets.classification.label_errors import suspected_label_errors
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet


def test_a_label_is_suspected_when_another_is_as_sure_as_its_own_tickets_are():
    # Tickets of a are a with 0.583 on average, those of b are b with 0.6.
    probability = np.array([[0.9, 0.1], [0.7, 0.3], [0.15, 0.85], [0.2, 0.8], [0.6, 0.4]])
    codes = np.array([0, 0, 0, 1, 1])

    suspects = suspected_label_errors("category", ["a", "b"], probability, codes, list("vwxyz"))

    assert suspects.to_dict("records") == [
        {"ticket_id": "x", "target": "category", "given": "a", "predicted": "b",
         "confidence": 0.85, "rank": 1},
        {"ticket_id": "z", "target": "category", "given": "b", "predicted": "a",
         "confidence": 0.6, "rank": 2},
    ]  # fmt: skip


def test_a_doubt_below_the_usual_confidence_of_the_other_class_is_none():
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.2, 0.8]])

    suspects = suspected_label_errors("category", ["a", "b"], probability, np.array([0, 0, 1, 1]),
                                   list("wxyz"))  # fmt: skip

    assert suspects.empty
    assert list(suspects.columns) == [
        *("ticket_id", "target", "given", "predicted", "confidence", "rank")
    ]


def test_nothing_is_suspected_of_a_class_without_tickets():
    suspects = suspected_label_errors(
        "category", ["a", "b"], np.array([[0.1, 0.9]]), np.array([0]), ["x"]
    )

    assert suspects.empty


@pytest.mark.slow
def test_flipped_labels_are_found(
    make_training_set: Callable[..., TrainingSet], options: TrainingOptions
):
    # Given a desk without an error, and one label in twenty changed to another
    clean = make_training_set(count=600, noise=0)
    rng = np.random.default_rng(8)
    flipped = rng.choice(600, 30, replace=False)
    labels = sorted(clean.tickets["category"].unique())
    tickets = clean.tickets.copy()
    for row in flipped:
        others = [name for name in labels if name != tickets["category"][row]]
        tickets.loc[row, "category"] = str(rng.choice(others))
    wrong = set(tickets["ticket_id"][flipped])

    errors = train(replace(clean, tickets=tickets), options).label_errors

    suspects = errors[errors["target"] == "category"]["ticket_id"].tolist()
    assert suspects
    assert len(wrong.intersection(suspects[:20])) >= 18
    assert len(wrong.intersection(suspects)) >= 21


def test_every_suspect_is_a_training_ticket_with_another_label(
    trained: TrainedClassifier, training_set: TrainingSet
):
    given = training_set.tickets.set_index("ticket_id")

    assert len(trained.label_errors)
    for row in trained.label_errors.itertuples():
        assert given.loc[row.ticket_id, row.target] == row.given != row.predicted
