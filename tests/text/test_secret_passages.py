"""Which parts of a text are read for secrets that no rule knows."""

from __future__ import annotations

import pytest

from ticket_assets.text.secret_passages import FEATURES, features_of, secret_passages

# A hundred ordinary words without a sign of a secret.
TALK = "the printer on the second floor does not print and the paper is not there again . " * 6


@pytest.mark.parametrize(
    "text",
    [
        "je tape Brouette et rien ne se passe",
        "Mein Chef nimmt immer wolkenbruch dafür",
        f"{TALK} the password is Brouette {TALK}",
        f"{TALK} I log in with Desk4!Light {TALK}",
        "code 4471 pour la porte",
    ],
)
def test_a_word_that_may_be_a_secret_is_read_with_those_around(text: str) -> None:
    words = {text[start:end] for part in secret_passages(text) for start, end in part.words}

    assert words & {"Brouette", "wolkenbruch", "Desk4!Light", "4471"}


@pytest.mark.parametrize(
    "text", ["", "Bonjour, merci de votre aide.", TALK, f"{TALK} Brouette {TALK}"]
)
def test_most_texts_are_not_read(text: str) -> None:
    assert secret_passages(text) == []


def test_of_a_long_text_only_what_is_near_is_read() -> None:
    text = f"{TALK} the password is Brouette {TALK}"

    (passage,) = secret_passages(text)

    words = text[passage.start : passage.end].split()
    assert words[17:21] == ["the", "password", "is", "Brouette"]
    assert len(words) < 60


def test_many_words_that_may_be_secrets_are_read_in_several_passages() -> None:
    text = "mdp " + " ".join(f"Tulipe{number}!x" for number in range(200))

    passages = secret_passages(text)

    assert len(passages) > 3
    assert {text[start:end] for part in passages for start, end in part.words} >= set(
        text.split()[1:]
    )
    assert all(part.words[-1][0] - part.words[0][0] < 1_500 for part in passages)


def test_features_say_what_a_word_looks_like() -> None:
    features = dict(zip(FEATURES, features_of("Tulipe99"), strict=True))

    assert features["category mixed"] == features["class mixed"] == 1
    assert features["category word"] == features["capitalised"] == 0
    assert features["length"] == pytest.approx(0.8)
