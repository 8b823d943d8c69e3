from dataclasses import replace

import numpy as np
import pytest

from ticket_assets.classification import prediction
from ticket_assets.classification.candidates import fit_expert
from ticket_assets.classification.features import count_terms
from ticket_assets.classification.prediction import Classifier, PredictionError
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet


def test_every_ticket_gets_known_labels_and_a_decision(
    trained: TrainedClassifier, training_set: TrainingSet
):
    tickets = training_set.tickets.iloc[:50].set_index("ticket_id", drop=False)

    predicted = trained.classifier.predict(tickets, training_set.vectors[:50])

    assert list(predicted.columns) == [
        "category",
        "category_confidence",
        "decision",
        "priority",
        "priority_confidence",
        "priority_decision",
    ]
    assert predicted.index.equals(tickets.index)
    assert set(predicted["category"]) <= {"access", "network", "printing"}
    assert predicted["category_confidence"].between(1 / 3, 1).all()
    assert predicted["priority_confidence"].between(1 / 2, 1).all()


def test_automatic_means_that_the_label_reaches_its_threshold(
    trained: TrainedClassifier, training_set: TrainingSet
):
    predicted = trained.classifier.predict(training_set.tickets, training_set.vectors)
    thresholds = {
        name: dict(zip(model.labels, model.thresholds, strict=True))
        for name, model in trained.classifier.targets.items()
    }

    confident = {
        name: predicted[f"{name}_confidence"] >= predicted[name].map(thresholds[name])
        for name in ("category", "priority")
    }

    assert ((predicted["decision"] == "auto") == confident["category"]).all()
    assert ((predicted["priority_decision"] == "auto") == confident["priority"]).all()
    assert 0 < confident["category"].sum() < len(predicted)


@pytest.mark.parametrize("text", ["", "   ", "☃☃☃", "漢字 だけ", "x" * 100_000])
def test_texts_that_say_nothing_still_get_a_label(text: str, trained: TrainedClassifier):
    width = len(trained.classifier.space.vector_centre)
    tickets = trained.reference.iloc[:1].assign(text=text)

    predicted = trained.classifier.predict(tickets, np.zeros((1, width), np.float32))

    assert predicted["category"].iloc[0] in trained.classifier.targets["category"].labels
    assert predicted["category_confidence"].notna().all()


@pytest.mark.slow
def test_batches_do_not_change_the_answer(
    trained: TrainedClassifier, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
):
    whole = trained.classifier.predict(training_set.tickets, training_set.vectors)
    monkeypatch.setattr(prediction, "BATCH_ROWS", 7)

    parts = trained.classifier.predict(training_set.tickets, training_set.vectors)

    assert parts.drop(columns=["category_confidence", "priority_confidence"]).equals(
        whole.drop(columns=["category_confidence", "priority_confidence"])
    )
    assert parts["category_confidence"].to_numpy() == pytest.approx(
        whole["category_confidence"].to_numpy()
    )


def test_a_day_without_mail_gives_an_empty_table(
    trained: TrainedClassifier, training_set: TrainingSet
):
    nothing = trained.classifier.predict(training_set.tickets[:0], training_set.vectors[:0])

    whole = trained.classifier.predict(training_set.tickets[:1], training_set.vectors[:1])
    assert len(nothing) == 0
    assert list(nothing.columns) == list(whole.columns)


def test_vectors_of_another_encoder_are_refused(
    trained: TrainedClassifier, training_set: TrainingSet
):
    with pytest.raises(PredictionError, match=r"width 24 from the encoder bag-of-words.*\(2, 3\)"):
        trained.classifier.predict(training_set.tickets[:2], np.zeros((2, 3), np.float32))


@pytest.fixture
def reader(trained: TrainedClassifier, training_set: TrainingSet) -> Classifier:
    """The classifier with one expert that reads terms, whichever candidate won."""
    category = trained.classifier.targets["category"]
    features = trained.classifier.space.features(
        count_terms(training_set.tickets["text"].tolist()), training_set.vectors
    )
    codes = training_set.tickets["category"].map(category.labels.index).to_numpy()
    terms = fit_expert("terms", features, codes, seed=7)
    model = replace(category, experts=(terms,), expert_temperatures={"terms": 1.0})
    return replace(trained.classifier, targets={"category": model})


def test_explanation_names_the_words_of_the_category(reader: Classifier):
    centre = reader.space.vector_centre[np.newaxis]

    (explained,) = reader.explain(["bonjour, l'Imprimante : bourrage papier, merci"], centre, top=3)

    words = dict(explained)

    assert set(words) == {"imprimante", "bourrage", "papier"}
    assert list(words.values()) == sorted(words.values(), reverse=True)
    assert min(words.values()) > 0


def test_weights_of_all_words_add_up_to_what_the_terms_say_for_the_label_against_the_next(
    reader: Classifier,
):
    text = "printer paper jam printer queue"
    centre = reader.space.vector_centre[np.newaxis]
    category = reader.targets["category"]
    features = reader.space.features(count_terms([text]), centre)
    expert = category.experts[0]
    scores = expert.scores(features, 3)[0]
    chosen, runner_up = np.argsort(-scores)[:2]

    (explained,) = reader.explain([text], centre, top=1000)

    assert category.labels[chosen] == "printing"
    intercepts = expert.estimator.intercept_
    difference = (scores - intercepts)[chosen] - (scores - intercepts)[runner_up]
    # Words that speak against the category are not shown, so the sum can only be larger.
    assert difference - 1e-6 <= sum(weight for _, weight in explained) <= difference * 1.05


@pytest.mark.slow
def test_two_categories_are_explained_from_the_one_row_of_weights_they_have(
    training_set: TrainingSet, options: TrainingOptions
):
    two = training_set.tickets["category"] != "network"
    trained = train(
        TrainingSet(training_set.tickets[two], training_set.vectors[two], "bag-of-words"), options
    )
    expert = trained.classifier.targets["category"].experts[0]
    assert expert.reads != "vectors"

    centre = np.repeat(trained.classifier.space.vector_centre[np.newaxis], 2, axis=0)
    access, printing = trained.classifier.explain(["mot passe merci", "bourrage papier"], centre)

    assert {"mot", "passe"} <= dict(access).keys()
    assert {"bourrage", "papier"} <= dict(printing).keys()


def test_texts_are_explained_alike_alone_and_together(
    reader: Classifier, training_set: TrainingSet
):
    texts, vectors = training_set.tickets["text"][:20].tolist(), training_set.vectors[:20]

    together = reader.explain(texts, vectors)

    for row, text in enumerate(texts):
        assert reader.explain([text], vectors[row : row + 1]) == [together[row]]
    assert all(together)
    assert reader.explain(["", "☃"], vectors[:2]) == [[], []]


@pytest.mark.slow
def test_terms_come_with_the_predictions_of_tickets_for_review(
    reader: Classifier, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
):
    tickets, vectors = training_set.tickets, training_set.vectors
    monkeypatch.setattr(prediction, "BATCH_ROWS", 17)

    predicted = reader.predict(tickets, vectors, with_terms=True)

    assert predicted.drop(columns="terms").equals(reader.predict(tickets, vectors))
    explained = reader.explain(tickets["text"].tolist(), vectors)
    assert predicted["terms"].tolist() == [
        words if decision == "review" else None
        for words, decision in zip(explained, predicted["decision"], strict=True)
    ]
    assert set(predicted["decision"]) == {"auto", "review"}
    nothing = reader.predict(tickets[:0], vectors[:0], with_terms=True)
    assert list(nothing.columns) == list(predicted.columns)


@pytest.mark.slow
def test_a_person_looks_at_certain_tickets_however_sure_their_labels_are(
    reader: Classifier, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
):
    tickets, vectors = training_set.tickets, training_set.vectors
    monkeypatch.setattr(prediction, "BATCH_ROWS", 17)
    reviewed = np.arange(len(tickets)) % 3 == 0
    by_confidence = reader.predict(tickets, vectors, with_terms=True)

    predicted = reader.predict(tickets, vectors, with_terms=True, reviewed=reviewed)

    assert set(by_confidence.loc[reviewed, "decision"]) == {"auto", "review"}
    assert set(predicted.loc[reviewed, "decision"]) == {"review"}
    assert set(predicted.loc[reviewed, "priority_decision"]) <= {"review", None}
    assert predicted.loc[reviewed, "terms"].notna().all()
    assert predicted[~reviewed].equals(by_confidence[~reviewed])
    labels = ["category", "category_confidence", "priority", "priority_confidence"]
    assert predicted[labels].equals(by_confidence[labels])


def test_a_category_decided_by_the_vector_alone_has_no_words_to_show(
    reader: Classifier, training_set: TrainingSet
):
    category = reader.targets["category"]
    features = reader.space.features(
        count_terms(training_set.tickets["text"].tolist()), training_set.vectors
    )
    codes = training_set.tickets["category"].map(category.labels.index).to_numpy()
    vectors_only = replace(
        category,
        experts=(fit_expert("vectors", features, codes, seed=7),),
        expert_temperatures={"vectors": 1.0},
    )
    classifier = replace(reader, targets={"category": vectors_only})

    assert classifier.explain(["imprimante"], training_set.vectors[:1]) == [[]]
