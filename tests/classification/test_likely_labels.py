from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ticket_assets.classification.likely_labels import LikelyLabels
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.training_set import TrainingSet

LABELS = ("access", "email", "network", "printing")


def drawn(rows: int, seed: int, sharpness: float = 1.0) -> pd.DataFrame:
    """Reviewed tickets whose right category is drawn by probabilities that are given `sharpness`
    times too surely."""
    generator = np.random.default_rng(seed)
    true = generator.dirichlet([0.4] * len(LABELS), rows)
    given = true**sharpness / (true**sharpness).sum(axis=1, keepdims=True)
    codes = (true.cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1)
    return pd.DataFrame(
        {
            "category": np.array(LABELS)[np.minimum(codes, 3)],
            "category_automatic": False,
            "category_probabilities": list(given),
        }
    )


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
def test_the_sets_hold_the_right_category_as_often_as_promised(sharpness):
    held, sets = [], []
    for seed in range(40):
        likely = LikelyLabels.of(drawn(200, seed, sharpness), LABELS)
        new = drawn(500, 1000 + seed, sharpness)
        everything = np.stack(new["category_probabilities"].tolist())
        in_set = everything >= likely.least_probability
        codes = new["category"].map(LABELS.index).to_numpy()
        held.append(in_set[np.arange(len(new)), codes].mean())
        sets += likely.sets(everything)

    # The mean of 40 calibrations by 200 tickets spreads by 0.0024.
    assert 0.945 <= np.mean(held) <= 0.965
    assert max(len(labels) for labels in sets if labels) == 3
    assert any(labels is None for labels in sets)


def test_the_likeliest_comes_first_and_is_always_there():
    likely = LikelyLabels(LABELS, 0.3)
    probability = np.array(
        [
            [0.10, 0.35, 0.05, 0.50],
            [0.29, 0.28, 0.22, 0.21],
            [0.96, 0.02, 0.01, 0.01],
        ]
    )

    assert likely.sets(probability) == [["printing", "email"], ["access"], ["access"]]


def test_more_than_three_are_not_shown():
    probability = np.array([[0.25, 0.25, 0.25, 0.25], [0.4, 0.3, 0.25, 0.05]])

    assert LikelyLabels(LABELS, 0.1).sets(probability) == [None, ["access", "email", "network"]]


@pytest.mark.parametrize(("tickets", "is_known"), [(0, False), (18, False), (19, True)])
def test_too_few_reviewed_tickets_say_nothing(tickets, is_known):
    rows = drawn(30, 5)
    rows["category_automatic"] = np.arange(30) >= tickets
    unlabelled = pd.DataFrame({**rows.iloc[:1].to_dict("list"), "category": [None]})

    likely = LikelyLabels.of(pd.concat([rows, unlabelled]), LABELS)

    assert (likely.least_probability > 0) == is_known


def test_they_come_with_the_predictions_for_review(
    trained: TrainedClassifier, training_set: TrainingSet
):
    tickets, vectors = training_set.tickets, training_set.vectors
    classifier = trained.classifier
    likely = LikelyLabels(classifier.targets["category"].labels, 0.2)

    predicted = classifier.predict(tickets, vectors, likely=likely)

    assert predicted.drop(columns="likely").equals(classifier.predict(tickets, vectors))
    for row in predicted.itertuples():
        if row.decision == "auto":
            assert row.likely is None or len(row.likely) >= 2
        if row.likely:
            assert row.likely[0] == row.category
    assert set(predicted["decision"]) == {"auto", "review"}
    reviewed = np.arange(len(tickets)) % 2 == 0
    looked_at = classifier.predict(tickets, vectors, likely=likely, reviewed=reviewed)
    assert looked_at.loc[reviewed, "likely"].isna().all()
    assert looked_at.loc[~reviewed, "likely"].equals(predicted.loc[~reviewed, "likely"])
    nothing = classifier.predict(tickets[:0], vectors[:0], likely=likely)
    assert list(nothing.columns) == list(predicted.columns)


def test_categories_that_were_merged_since_the_training_are_one_label():
    merged = ("access", "mail", "mail", "printing")
    rows = drawn(200, 5)
    rows["category"] = rows["category"].replace({"email": "mail", "network": "mail"})

    likely = LikelyLabels.of(rows, merged)

    assert likely.least_probability >= LikelyLabels.of(drawn(200, 5), LABELS).least_probability > 0
    probability = np.array([[0.1, 0.3, 0.4, 0.2], [0.25, 0.3, 0.05, 0.4]])
    assert LikelyLabels(merged, 0.2).sets(probability) == [
        ["mail", "printing"],
        ["printing", "mail", "access"],
    ]
