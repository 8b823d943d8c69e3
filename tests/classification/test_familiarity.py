from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.classification.conftest import own_word
from ticket_assets.classification.familiarity import (
    LANGUAGE_NOT_LEARNT,
    REPEATED_TEXT,
    UNKNOWN_WORDS,
    UNLIKE_LEARNT,
    Familiarity,
)
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet


@pytest.fixture(scope="module")
def familiarity(trained: TrainedClassifier) -> Familiarity:
    return Familiarity.of(trained.reference, trained.vocabulary, trained.classifier.space)


@pytest.fixture(scope="module")
def lonely(familiarity) -> np.ndarray:
    """A vector as far from the centre as the others, in a direction in which hardly any lie."""
    *_, directions = np.linalg.svd(familiarity.directions, full_matrices=False)
    return familiarity.centre + directions[-1:].astype(np.float32)


def ticket(tokens, language="fr", text=None):
    return pd.DataFrame(
        {"text": [text or tokens], "tokens": [tokens], "language": [language]}, index=["t1"]
    )


def test_new_tickets_of_the_same_desk_are_familiar(familiarity, make_training_set):
    new = make_training_set(count=400, seed=11)

    reasons = familiarity.reasons(new.tickets, new.vectors)

    assert reasons.index.equals(new.tickets.index)
    assert reasons.notna().mean() < 0.03


def test_the_tickets_that_were_learnt_are_familiar(familiarity, training_set: TrainingSet):
    reasons = familiarity.reasons(training_set.tickets, training_set.vectors)

    # Their words are drawn by lot, in some of them one again and again.
    assert set(reasons.dropna()) <= {REPEATED_TEXT}


@pytest.mark.slow
def test_a_direction_in_which_no_ticket_lies(familiarity, training_set: TrainingSet, lonely):
    known = ticket("vpn réseau connexion wifi coupure")

    assert familiarity.reasons(known, training_set.vectors[:1]).tolist() == [None]
    assert familiarity.reasons(known, lonely).tolist() == [UNLIKE_LEARNT]


@pytest.mark.parametrize(
    ("tokens", "language", "reason"),
    [
        ("vpn réseau connexion wifi coupure", "fr", None),
        ("faites revenir oignons beurre bouillon", "fr", UNKNOWN_WORDS),
        ("vpn réseau farine oignons beurre bouillon poivre", "fr", UNKNOWN_WORDS),
        ("drucker papier toner", "de", LANGUAGE_NOT_LEARNT),
        ("vpn vpn vpn", "fr", REPEATED_TEXT),
        ("mot passe mot passe mot passe", "fr", REPEATED_TEXT),
        # Said twice, or of a word or two, a text is only short.
        ("vpn vpn", "fr", None),
        ("mot passe verrouillé mot passe", "fr", None),
        ("", "fr", None),
    ],
)
def test_words_and_language(familiarity, training_set: TrainingSet, tokens, language, reason):
    near = training_set.vectors[:1]

    assert familiarity.reasons(ticket(tokens, language), near).to_dict() == {"t1": reason}


def test_one_word_that_does_not_count_again_and_again(familiarity, training_set: TrainingSet):
    stopwords = ticket("", text="et le et le Et le")

    reasons = familiarity.reasons(stopwords, training_set.vectors[:1])

    assert reasons.tolist() == [REPEATED_TEXT]


@pytest.fixture(scope="module")
def copies() -> TrainingSet:
    """Forty wordings of four of the desk's phrases and a word of their own, in ten copies each."""
    rng = np.random.default_rng(5)
    phrases = [f"{a}un {a}deux {a}trois {a}quatre" for a in "bcdfghjklmnpqrst"]
    rows, vectors = [], []
    for wording in range(40):
        words = [*rng.choice(phrases, 4, replace=False), f"seul{own_word(wording)}"]
        direction = rng.normal(size=16)
        for copy in range(10):
            number = 10 * wording + copy
            text = " ".join([*words, f"poste{own_word(copy)}"])
            rows.append(
                {
                    "ticket_id": f"{number:020x}",
                    "received_at": pd.Timestamp("2025-03-01") + pd.Timedelta(hours=number),
                    "text": text,
                    "tokens": text,
                    "language": "fr",
                    "category": "access" if wording % 2 else "network",
                    "priority": None,
                }
            )
            vectors.append(direction + rng.normal(scale=0.01, size=16))
    return TrainingSet(pd.DataFrame(rows), np.array(vectors, np.float32), "words")


@pytest.mark.slow
def test_a_ticket_is_compared_with_other_wordings_not_with_its_near_copies(
    copies: TrainingSet, options: TrainingOptions
):
    trained = train(copies, options)
    familiarity = Familiarity.of(trained.reference, trained.vocabulary, trained.classifier.space)
    # Given wordings of their own, as far from the learnt ones as these are from each other
    rng = np.random.default_rng(6)
    new = copies.tickets.iloc[:200]
    vectors = rng.normal(size=(200, 16)).astype(np.float32)

    reasons = familiarity.reasons(new, vectors)

    assert trained.reference["wording"].value_counts().min() == 10
    assert reasons.notna().mean() < 0.05


@pytest.mark.slow
def test_words_of_the_desk_in_no_order(copies: TrainingSet, options: TrainingOptions):
    trained = train(copies, options)
    familiarity = Familiarity.of(trained.reference, trained.vocabulary, trained.classifier.space)
    rng = np.random.default_rng(7)
    known = copies.tickets.iloc[:100]
    mixed = known.assign(text=[" ".join(rng.permutation(text.split())) for text in known["text"]])

    assert familiarity.reasons(known, copies.vectors[:100]).notna().sum() == 0
    reasons = familiarity.reasons(mixed, copies.vectors[:100])

    assert (reasons == UNLIKE_LEARNT).mean() > 0.95


@pytest.mark.slow
def test_more_tickets_than_are_compared_at_once(familiarity, training_set: TrainingSet, lonely):
    many = pd.concat([ticket("vpn réseau connexion wifi coupure")] * 2100)
    vectors = np.repeat(training_set.vectors[:1], 2100, axis=0)
    vectors[[1023, 1024, 2099]] = lonely

    reasons = familiarity.reasons(many, vectors)

    assert np.flatnonzero(reasons.notna()).tolist() == [1023, 1024, 2099]


def test_no_ticket_at_all(familiarity, training_set: TrainingSet):
    assert familiarity.reasons(training_set.tickets[:0], training_set.vectors[:0]).empty
