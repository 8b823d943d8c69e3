"""The texts that are no requests, and how verdicts on them are counted."""

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import HashingVectorizer

from benchmarks.candidates import french_tickets
from benchmarks.drift import Mail
from benchmarks.unfamiliar import (
    NeverLearnt,
    Verdicts,
    never_learnt_lines,
    texts_of_kinds,
    unfamiliar_lines,
    verdicts_on,
)
from ticket_assets.text.language import detect_language

DESK = pd.DataFrame({"text": ["Mon imprimante est en panne", "Le VPN coupe"], "language": "fr"})


def test_each_kind_has_as_many_texts_and_off_topic_ones_are_in_the_language_of_the_desk():
    kinds = texts_of_kinds(2_000, DESK)
    allowed = ["fr", "en", "de", "es", "pt"]

    assert {len(texts) for texts in kinds.values()} == {-(-2_000 // len(kinds))}
    assert sum(map(len, kinds.values())) >= 2_000
    french = [detect_language(text, allowed) == "fr" for text in kinds["cooking"]]
    foreign = [detect_language(t, allowed) for t in kinds["languages the desk may name"]]
    assert np.mean(french) > 0.95
    assert foreign.count("fr") == 0
    words = {word for text in DESK["text"] for word in text.split()}
    assert {word for text in kinds["words of two tickets, mixed"] for word in text.split()} <= words
    assert not any("{" in text or "|" in text for text in kinds["news"])


def test_the_same_seed_gives_the_same_texts():
    assert texts_of_kinds(40, DESK, seed=3) == texts_of_kinds(40, DESK, seed=3)
    assert texts_of_kinds(40, DESK, seed=3) != texts_of_kinds(40, DESK, seed=4)


def test_what_is_unsure_is_in_review_but_not_unlike_what_was_learnt():
    strange = {"spam": Verdicts(100, {"unknown_words": 90, "unsure": 8})}
    ordinary = {"in new wordings": Verdicts(100, {"unlike_learnt": 2, "unsure": 30})}

    spam, every_kind, new, _ = unfamiliar_lines(strange, ordinary)

    assert (spam.value, spam.met) == ("98.0% (unknown_words 90, unsure 8)", None)
    assert (every_kind.value[:5], every_kind.met) == ("98.0%", True)
    assert (new.value, new.met) == ("2.0% (unsure 30, unlike_learnt 2)", False)


@pytest.mark.slow
def test_verdicts_are_those_of_the_product_on_tickets_it_has_not_learnt():
    # Given a desk whose vectors are counts of hashed words
    tickets, sentences = french_tickets(600)
    counter = HashingVectorizer(n_features=64, norm=None, dtype=np.float32)

    def encode(texts):
        return counter.transform(texts).toarray()

    mail = Mail(tickets, encode(tickets["text"].tolist()))
    strange, ordinary = verdicts_on(mail, sentences, encode, count=40)

    assert 100 < sum(verdicts.texts for verdicts in ordinary.values()) < 300
    assert strange["cooking"].reasons == {"unknown_words": strange["cooking"].texts}


def test_of_a_category_never_learnt_the_default_share_alone_is_judged():
    found = {0.0: NeverLearnt(0.3, 0.8, 0.6), 0.05: NeverLearnt(0.031, 0.79, 0.5)}

    without, default = never_learnt_lines(found)

    assert (without.value, without.met) == ("30.0% (80.0%, 60.0%)", None)
    assert (default.value, default.met) == ("3.1% (79.0%, 50.0%)", False)
