"""Quotes and signatures of the mail clients and languages a desk meets, each cut exactly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ticket_assets.text.html import html_to_text
from ticket_assets.text.quoting import split_reply

BODIES = yaml.safe_load(Path(__file__).with_name("replies.yaml").read_text("utf-8"))


EXACT = {name: body for name, body in BODIES.items() if "known gap" not in body}


def own_words(body: dict[str, str]) -> str:
    text = body["text"] if "text" in body else html_to_text(body["html"])
    # The lines, since HTML says little about how many empty ones stand between them.
    own = split_reply(text, author=body.get("sender")).own
    return re.sub(r"\n+", "\n", own) if "html" in body else own


@pytest.mark.parametrize("body", EXACT.values(), ids=EXACT)
def test_the_requesters_words_are_what_is_left(body: dict[str, str]) -> None:
    assert own_words(body) == body["own"]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_word_of_the_requester_is_lost(body: dict[str, str]) -> None:
    left = own_words(body).split("\n")

    assert [line for line in body["own"].split("\n") if line not in left] == []


def test_nearly_all_bodies_of_a_wide_table_are_split_exactly() -> None:
    exact = [body for body in BODIES.values() if own_words(body) == body["own"]]

    assert len(BODIES) >= 125
    assert len(exact) / len(BODIES) >= 0.95


def test_each_part_holds_its_lines() -> None:
    parts = split_reply(
        "PC en panne.\n\nCordialement,\nJean\n\nLe 12/03/2024 à 10:22, S a écrit :\n> Oui"
    )

    assert parts.own == "PC en panne."
    assert parts.signature == "Cordialement,\nJean"
    assert parts.quoted == "Le 12/03/2024 à 10:22, S a écrit :\n> Oui"


def test_an_outlook_forward_with_a_note_keeps_both_when_the_subject_says_forward() -> None:
    text = "C'est réparé.\n\nDe : Jean\nEnvoyé : lundi\nÀ : Paul\nObjet : VPN\n\nLe VPN est coupé."

    assert split_reply(text).own == "C'est réparé."
    assert split_reply(text, forwarded=True).own == "C'est réparé.\nLe VPN est coupé."


def test_a_quoted_message_with_headers_is_kept_when_the_subject_says_forward() -> None:
    text = "À traiter.\n\n> De : Jean\n> Envoyé : lundi\n> À : Paul\n> Objet : VPN\n>\n> Coupé."

    assert split_reply(text).own == "À traiter."
    assert split_reply(text, forwarded=True).own == "À traiter.\nCoupé."


def test_a_long_paragraph_is_kept_whole() -> None:
    text = "Le PC redémarre sans cesse. " * 1_000

    assert split_reply(text).own == text.strip()


def test_the_desks_own_line_ends_the_answer_where_it_stands_alone() -> None:
    text = "Toujours bloqué.\n\n~~~ Centre de services ~~~\n\nTicket 12 : redémarrez."
    delimiter = "*** centre de services ***"

    assert split_reply(text, reply_delimiter=delimiter).own == "Toujours bloqué."
    assert split_reply(text).own == text
    named = "Le Centre de services ne répond pas.\nRappelez-moi."
    assert split_reply(named, reply_delimiter=delimiter).own == named


LINES = [
    "De : Jean", "Envoyé : lundi", "À : Paul", "Objet : VPN", "> cité", "Cordialement,", "Merci",
    "-- ", "Le 12/03/2024 à 10:22, S a écrit :", "---------- Forwarded message ---------", "",
    "Le PC est en panne.", "Jean Dupont", "________________________________", "\x00", "\ud800",
    "Tél. : 02 61 91 38 55", "Comptable | Arvelis", "[EXTERNAL]", "This mail is from outside.",
    "Envoyé de mon iPhone", "-----Message d'origine-----", "PS : voir 0x80070005", "Am 1 schrieb",
]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(LINES), st.text(max_size=20)), max_size=20).map("\n".join)
)
def test_some_words_are_always_left(text: str) -> None:
    parts = split_reply(text)

    assert parts.own or not any(map(str.isalnum, text))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=12).map("\n".join))
def test_a_sentence_above_everything_is_never_lost(text: str) -> None:
    own = "L'écran du poste 204 reste noir depuis ce matin, erreur 0x80070005."

    assert own in split_reply(f"{own}\n{text}").own


@pytest.mark.slow
@pytest.mark.timeout(10, func_only=True)
@pytest.mark.parametrize(
    "unit",
    [
        "De : x\n",
        "> a",
        "a\n",
        "Le 1 ",
        "On 1 wrote:",
        "-----",
        "Cordialement\n",
        "À : x\n",
        "Merci\n",
        "Envoyé de mon iPhone ",
        "Message du 1 ",
        "-- Reply above this line --\n",
        "Le 1/1/26 à 1:01, A <a@b.fr> a écrit :\n\na\n",
    ],
)
def test_long_monotonous_bodies_end_soon(unit: str) -> None:
    assert split_reply(unit * (500_000 // len(unit))).own
