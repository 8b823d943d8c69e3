"""Which texts are one wording, and that no chain makes one of a whole desk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ticket_assets.text.wordings import average_linkage, wordings

NAMES = [
    *("marie", "paul", "jeanne", "louis", "chloe", "hugo", "emma", "lucas"),
    *("ines", "nathan", "lea", "tom", "zoe", "adam", "alice", "jules"),
]
SENTENCES = {
    "access": [
        "mot passe windows oublié session ouvrir impossible réinitialiser",
        "droits dossier comptabilité refusés ouverture écriture nécessaire",
        "compte prestataire expiré prolonger juin responsable accord",
    ],
    "printing": [
        "imprimante couloir bourrage papier bloquée redémarrer succès",
        "toner vide copieur deuxième étage commander cartouche",
        "scanner envoie plus fichiers messagerie erreur connexion serveur",
    ],
}
AROUND = [
    "bonjour équipe",
    "bonsoir",
    "merci avance retour",
    "cordialement",
    "service entier bloqué",
]


def number(tokens: list[str], labels: list[str | None] | None = None) -> list[int]:
    return wordings(np.arange(len(tokens)), tokens, labels or [None] * len(tokens)).tolist()


def desk(copies: int, seed: int = 1) -> tuple[list[str], list[str], list[int]]:
    """Tickets of six sentences, each with a name and something stock around it."""
    random = np.random.default_rng(seed)
    tickets = [
        (
            f"{random.choice(AROUND)} {sentence} {random.choice(NAMES)} {random.choice(AROUND)}",
            label,
        )
        for label, sentences in SENTENCES.items()
        for sentence in sentences
        for _ in range(copies)
    ]
    sentence = np.repeat(np.arange(6), copies)
    order = random.permutation(len(tickets))
    tokens, labels = zip(*(tickets[row] for row in order), strict=True)
    return list(tokens), list(labels), sentence[order].tolist()


@pytest.mark.parametrize("copies", [2, 5, 40])
def test_near_copies_are_one_wording_whatever_stands_around_them(copies: int):
    tokens, labels, sentences = desk(copies)

    groups = number(tokens, labels)

    assert len({*zip(groups, sentences, strict=True)}) == len({*groups}) == 6


def test_wordings_are_numbered_as_they_first_occur_and_templates_stay_whole():
    tokens = ["vpn coupé tunnel", "toner vide copieur", "vpn coupé tunnel", "écran noir portable"]

    assert wordings(np.array([0, 1, 0, 2]), tokens, [None] * 4).tolist() == [0, 1, 0, 2]


def test_accents_that_were_left_out_make_no_other_wording():
    tokens, labels, _ = desk(3)

    first, second, *_ = number(
        ["réinitialisé téléphone oublié été", "reinitialise telephone oublie ete", *tokens],
        ["access", "access", *labels],
    )

    assert first == second


def test_a_chain_of_texts_each_like_the_next_is_no_wording():
    # Given texts of twelve words, of which each shares nine with the next and none with the fourth
    words = [f"{a}{b}{c}" for a in "bcdf" for b in "aeiou" for c in "klmnp"]
    chain = [" ".join(words[start : start + 12]) for start in range(0, 87, 3)]

    groups = np.array(number(chain))

    assert np.bincount(groups).max() < len(chain) / 3


def test_forms_of_a_portal_are_told_apart_by_what_is_filled_in():
    form = "nouvelle demande portail services créée {} répondre lien suivant message automatique {}"
    fields = {
        "access": ["compte verrouillé", "mot passe expiré", "badge perdu", "droits dossier"],
        "printing": ["bourrage papier", "toner vide", "file bloquée", "scanner muet"],
    }
    filled = [
        (form.format(field, name), label)
        for label in fields
        for field in fields[label]
        for name in NAMES
    ]

    groups = number(*map(list, zip(*filled, strict=True)))

    assert len(set(groups)) >= 8


def test_a_wording_that_fills_a_third_of_the_desk_is_one():
    tokens, labels, _ = desk(10)
    alerts = [
        f"disque serveur {a} {b} presque plein nettoyer étendre volume"
        for a in NAMES[:6]
        for b in NAMES[6:11]
    ]

    groups = number([*tokens, *alerts], [*labels, *["monitoring"] * len(alerts)])

    assert len(set(groups[len(tokens) :])) == 1
    assert not {*groups[len(tokens) :]} & {*groups[: len(tokens)]}


@given(st.integers(2, 40), st.integers(0, 10**6), st.sampled_from([0.2, 0.4, 0.6]))
def test_groups_are_those_of_average_linkage(count: int, seed: int, least: float):
    random = np.random.default_rng(seed)
    vectors = random.random((count, 8)) * (random.random((count, 8)) < 0.4)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    distance = 1 - vectors @ vectors.T
    np.fill_diagonal(distance, 0)
    expected = fcluster(
        linkage(squareform(distance, checks=False), "average"), 1 - least, "distance"
    )

    groups = average_linkage(sparse.csr_array(vectors), least)

    assert len({*zip(groups, expected, strict=True)}) == len({*groups}) == len({*expected})


def test_a_thousand_equal_vectors_are_one_group():
    assert not average_linkage(sparse.csr_array(np.full((1000, 4), 0.5)), 0.9).any()


def test_no_texts_have_no_wordings():
    assert number([]) == []
    assert number(["", "", "vpn"]) == [0, 1, 2]
