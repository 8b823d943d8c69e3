"""Tickets that the classifier has learnt from are predicted as by their folds, not by heart."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ticket_assets.classification.learnt_tickets import (
    LIKELIEST,
    LearntTickets,
    out_of_fold_columns,
)
from ticket_assets.classification.likely_labels import LikelyLabels
from ticket_assets.classification.model_store import table_bytes
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.training_set import TrainingSet


def learnt_by(trained: TrainedClassifier) -> LearntTickets:
    return LearntTickets.of(trained.training_tickets, trained.classifier.targets)


def test_a_learnt_ticket_gets_what_its_fold_said(
    trained: TrainedClassifier, training_set: TrainingSet
):
    tickets, vectors = training_set.tickets, training_set.vectors
    likely = LikelyLabels.of(trained.holdout, trained.classifier.targets["category"].labels)

    asked = trained.classifier.predict(tickets, vectors)
    predicted = trained.classifier.predict(
        tickets, vectors, likely=likely, learnt=learnt_by(trained)
    )

    recorded = trained.training_tickets.set_index("ticket_id").loc[tickets["ticket_id"]]
    assert predicted["category"].tolist() == recorded["category"].tolist()
    np.testing.assert_allclose(
        predicted["category_confidence"], recorded["category_confidence"], rtol=1e-6
    )
    model = trained.classifier.targets["category"]
    thresholds = predicted["category"].map(dict(zip(model.labels, model.thresholds, strict=True)))
    is_sure = predicted["category_confidence"] >= thresholds
    assert (predicted["decision"] == np.where(is_sure, "auto", "review")).all()
    review = predicted[predicted["decision"] == "review"]
    assert all(row.category == row.likely[0] for row in review.itertuples() if row.likely)
    # Asked itself, the model knows better.
    truth = tickets["category"]
    assert (predicted["category"] == truth).mean() < (asked["category"] == truth).mean()
    assert predicted["category_confidence"].mean() < asked["category_confidence"].mean()


def test_a_ticket_that_was_not_learnt_is_predicted_as_ever(
    trained: TrainedClassifier, training_set: TrainingSet
):
    tickets = training_set.tickets.assign(ticket_id=[f"new {row}" for row in range(400)])

    asked = trained.classifier.predict(tickets, training_set.vectors)
    predicted = trained.classifier.predict(tickets, training_set.vectors, learnt=learnt_by(trained))

    pd.testing.assert_frame_equal(asked, predicted)


def test_a_model_of_a_former_release_has_recorded_nothing(trained: TrainedClassifier):
    kept = [name for name in trained.training_tickets if not name.endswith(("codes", "ilities"))]
    former = replace(trained, training_tickets=trained.training_tickets[kept])

    assert learnt_by(former) == LearntTickets({}, {}, {})


@pytest.mark.parametrize("labels", [2, LIKELIEST, 9])
def test_the_likeliest_labels_are_kept_in_their_order(labels: int):
    probability = np.random.default_rng(0).dirichlet(np.ones(labels), 5)
    table = out_of_fold_columns({"category": probability}).assign(ticket_id=list("abcde"))
    put_into = np.full((2, labels), 0.5)

    LearntTickets.of(table, ["category", "priority"]).put_into({"category": put_into}, ["z", "d"])

    assert (put_into[0] == 0.5).all()
    least = np.sort(probability[3])[-min(labels, LIKELIEST)]
    np.testing.assert_allclose(
        put_into[1], np.where(probability[3] >= least, probability[3], 0), rtol=1e-6
    )


def test_what_20_000_learnt_tickets_take_is_a_megabyte():
    generator = np.random.default_rng(0)
    probability = {
        target: generator.dirichlet(np.full(labels, 0.1), 20_000)
        for target, labels in {"category": 42, "priority": 4}.items()
    }

    assert len(table_bytes(out_of_fold_columns(probability))) < 1_100_000
