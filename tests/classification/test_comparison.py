from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ticket_assets.classification.comparison import compare_with_champion
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet


@pytest.fixture(scope="module")
def champion(training_set: TrainingSet, options: TrainingOptions) -> TrainedClassifier:
    """Trained on the first 300 of the 400 tickets."""
    early = TrainingSet(
        training_set.tickets.iloc[:300], training_set.vectors[:300], training_set.encoder
    )
    return train(early, options)


@pytest.mark.slow
def test_both_are_judged_on_tickets_that_neither_knows(
    trained: TrainedClassifier, champion: TrainedClassifier, training_set: TrainingSet
):
    comparison = compare_with_champion(trained, champion, training_set)

    # The candidate's hold-out is tickets 320 to 399; the champion knows those before 300.
    assert comparison.rows == 80
    assert comparison.basis.startswith("80 recent tickets that neither had learnt from")
    assert comparison.candidate_macro_f1 == pytest.approx(
        trained.evaluation.targets["category"].macro_f1
    )
    assert comparison.low <= comparison.difference <= comparison.high
    assert comparison.not_worse


@pytest.mark.slow
def test_a_candidate_that_learnt_wrong_labels_is_worse(
    champion: TrainedClassifier, training_set: TrainingSet, options: TrainingOptions
):
    # Given labels of the earlier part dealt anew, as after an import with a shifted column
    tickets = training_set.tickets.copy()
    earlier = np.arange(320)
    shuffled = np.random.default_rng(0).permutation(earlier)
    tickets.loc[earlier, "category"] = tickets["category"].to_numpy()[shuffled]
    wrong = replace(training_set, tickets=tickets)

    comparison = compare_with_champion(train(wrong, options), champion, wrong)

    assert comparison.champion_macro_f1 > 0.8
    assert comparison.high < 0
    assert not comparison.not_worse


@pytest.mark.slow
def test_copies_of_mails_the_champion_knows_do_not_count_as_new(
    trained: TrainedClassifier, champion: TrainedClassifier, training_set: TrainingSet
):
    learnt = champion.training_tickets.copy()
    learnt.loc[:49, "text_group"] = trained.holdout["text_group"].iloc[:50].to_numpy()

    comparison = compare_with_champion(
        trained, replace(champion, training_tickets=learnt), training_set
    )

    assert comparison.rows == 30


def test_near_copies_of_mails_the_champion_knows_do_not_count_as_new(
    trained: TrainedClassifier, champion: TrainedClassifier, training_set: TrainingSet
):
    # Given 50 tickets of the hold-out that are, each, in the wording of one that both have learnt
    holdout, learnt = trained.holdout.copy(), trained.training_tickets
    known = learnt[learnt["ticket_id"].isin(champion.training_tickets["ticket_id"])]
    holdout.loc[:49, "wording"] = known["wording"].iloc[:50].to_numpy()

    comparison = compare_with_champion(replace(trained, holdout=holdout), champion, training_set)

    assert comparison.rows == 30


def test_a_score_on_near_copies_decides_nothing(
    trained: TrainedClassifier, training_set: TrainingSet
):
    target = trained.evaluation.targets["category"]
    perfect = replace(target, macro_f1=1.0, macro_f1_low=1.0, macro_f1_high=1.0)
    former = replace(trained.evaluation, wordings=None, targets={"category": perfect})

    comparison = compare_with_champion(trained, replace(trained, evaluation=former), training_set)

    assert comparison.high < 0
    assert comparison.not_worse
    assert "judged on near-copies of what it had learnt, so nothing follows" in comparison.basis


def test_recorded_scores_decide_when_too_few_tickets_are_new(
    trained: TrainedClassifier, training_set: TrainingSet
):
    comparison = compare_with_champion(trained, trained, training_set)

    target = trained.evaluation.targets["category"]
    width = (target.macro_f1_high - target.macro_f1_low) / 2
    assert comparison.rows == 0
    assert comparison.difference == 0
    assert comparison.high == pytest.approx(np.sqrt(2) * width)
    assert comparison.not_worse
    assert "only 0 hold-out tickets are new to the champion" in comparison.basis


def test_recorded_scores_decide_when_the_encoder_changed(
    trained: TrainedClassifier,
    champion: TrainedClassifier,
    make_training_set: Callable[..., TrainingSet],
):
    other = replace(make_training_set(), encoder="another")

    comparison = compare_with_champion(trained, champion, other)

    assert comparison.rows == 0
    assert "reads vectors of bag-of-words, not of another" in comparison.basis


def test_a_much_lower_recorded_score_is_worse(
    trained: TrainedClassifier, training_set: TrainingSet
):
    target = trained.evaluation.targets["category"]
    poor = replace(target, macro_f1=0.3, macro_f1_low=0.25, macro_f1_high=0.35)
    candidate = replace(trained, evaluation=replace(trained.evaluation, targets={"category": poor}))

    assert not compare_with_champion(candidate, trained, training_set).not_worse
