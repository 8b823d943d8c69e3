"""From a message's subject and bodies to the text and tokens of a ticket."""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.raw_tickets import raw_tickets
from ticket_assets.sample.mailbox import generate
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.text.cleaning import CleanText, clean_text, clean_tickets
from ticket_assets.text.privacy import find_personal_data

LANGUAGES = ("fr", "en", "de", "es", "pt")
REGIONS = ("FR", "BE", "CH", "GB", "US", "DE", "ES", "PT")


def clean(subject: str | None, text: str | None = None, html: str | None = None) -> CleanText:
    return clean_text(subject, text, html, languages=LANGUAGES, phone_regions=REGIONS)


def test_a_reply_becomes_the_requesters_masked_words() -> None:
    body = (
        "Bonjour,\r\n\r\nL'erreur 691 revient.   Appelez le 06 12 34 56 78.\r\n\r\n\r\n\r\n"
        "Merci\r\nCordialement,\r\nJean Dupont\r\n01 23 45 67 89\r\n\r\n"
        "Le lun. 12 mars 2024 à 10:22, Support <support@exemple.fr> a écrit :\r\n> Bonjour\r\n"
    )

    ticket = clean("RE: TR : VPN en panne", body)

    assert ticket.subject == "VPN en panne"
    assert ticket.text == ("VPN en panne\nBonjour,\n\nL'erreur 691 revient. Appelez le [PHONE].")
    assert ticket.tokens == ["vpn", "panne", "erreur", "691", "revient", "appelez"]
    assert ticket.language == "fr"
    assert ticket.masked == {"PHONE": 1}
    assert ticket.text_hash == hashlib.sha256(ticket.text.encode()).hexdigest()


@pytest.mark.parametrize(
    "plain",
    ["", " \n", "This message needs an HTML viewer.", "Please view this email in a browser"],
)
def test_the_html_part_is_read_when_the_plain_one_says_nothing(plain: str) -> None:
    assert clean(None, plain, "<p>Mon écran est noir</p>").text == "Mon écran est noir"


def test_the_plain_part_is_read_when_it_says_something() -> None:
    assert clean(None, "Mon écran est noir", "<p>Mon écran est <b>noir</b> !</p>").text == (
        "Mon écran est noir"
    )


def test_characters_a_reader_cannot_see_are_removed() -> None:
    assert clean("É\u200bcran\x00", "noir\u00a0\u202eici\ud800").text == "Écran\nnoir ici"


@pytest.mark.parametrize(("subject", "body"), [(None, None), ("", ""), ("RE:", " \n\u200b")])
def test_a_message_without_words_has_an_empty_text(subject: str | None, body: str | None) -> None:
    ticket = clean(subject, body)

    assert (ticket.subject, ticket.text, ticket.tokens) == ("", "", [])


def test_a_forward_by_outlook_keeps_the_forwarded_text() -> None:
    body = "C'est réparé\n\nDe : Jean\nEnvoyé : lundi\nÀ : Paul\nObjet : VPN\n\nLe VPN est coupé."

    assert clean("TR: VPN", body).text == "VPN\nC'est réparé\nLe VPN est coupé."
    assert clean("RE: VPN", body).text == "VPN\nC'est réparé"


def row(ticket_id: str, kind: str = "request", **values: Any) -> dict[str, Any]:
    received_at = datetime(2026, 3, 12, 9, 30)
    empty = dict.fromkeys(("sender_name", "subject", "body_text", "body_html"))
    return {"ticket_id": ticket_id, "received_at": received_at, "kind": kind, **empty, **values}


COLUMNS = [
    "ticket_id",
    "received_at",
    "language",
    "subject",
    "text",
    "tokens",
    "text_hash",
    "token_count",
    "character_count",
    "masked",
]


def test_only_requests_with_words_become_tickets_and_the_rest_is_counted() -> None:
    raw = pd.DataFrame(
        [
            row("a", subject="Écran noir", body_text="Écrire à j@x.fr"),
            row("b", kind="auto_reply", subject="Absent"),
            row("c", kind="bounce", subject="Undelivered"),
            row("d", kind="list", subject="News"),
            row("e", body_text=" "),
            row("f", body_html="<p>Mon clavier ne répond plus</p>"),
        ]
    )

    tickets, left_out = clean_tickets(raw, languages=LANGUAGES, phone_regions=REGIONS)

    assert left_out["reason"].value_counts().to_dict() == {
        "auto_reply": 1,
        "bounce": 1,
        "list": 1,
        "no text": 1,
    }
    assert list(tickets.columns) == COLUMNS
    assert list(tickets["ticket_id"]) == ["a", "f"]
    first = tickets.iloc[0]
    assert first["text"] == "Écran noir\nÉcrire à [EMAIL]"
    assert first["tokens"] == "écran noir écrire"
    assert (first["token_count"], first["character_count"]) == (3, len(first["text"]))
    assert json.loads(first["masked"]) == {"EMAIL": 1}


def test_the_senders_name_tells_the_signature_from_somebody_elses_details() -> None:
    body = "Merci de créer ce compte.\n\nAna Ruiz\nComptable | Arvelis\nTél. : 02 61 91 38 55\n"
    raw = pd.DataFrame(
        [
            row("a", sender_name="RUIZ Ana", body_text=body),
            row("b", sender_name="Jean Dupont", body_text=body + "\nJean"),
        ]
    )

    tickets = clean_tickets(raw, languages=LANGUAGES, phone_regions=REGIONS).tickets

    assert list(tickets["text"]) == [
        "Merci de créer ce compte.",
        "Merci de créer ce compte.\n\nAna Ruiz\nComptable | Arvelis\nTél. : [PHONE]",
    ]


def test_a_day_without_mail_has_the_same_columns_and_types() -> None:
    raw = pd.DataFrame([row("a", subject="Écran noir")])

    one = clean_tickets(raw, languages=LANGUAGES, phone_regions=REGIONS).tickets
    none = clean_tickets(raw.iloc[:0], languages=LANGUAGES, phone_regions=REGIONS).tickets

    assert len(none) == 0
    assert dict(none.dtypes) == dict(one.dtypes)
    assert str(none["received_at"].dtype) == "datetime64[us]"


PIECES = [
    "Bonjour, ", "06 12 34 56 78", "a@b.fr", "FR76 3000 6000 0112 3456 7890 189", "\n", "> cité\n",
    "De : x\n", "mdp: Azerty123 ", "10.0.0.5 ", "4111 1111 1111 1111", "\x00", "\ud800", "\u200b",
    "<p>", "</div>", "Cordialement\n", "Le PC est en panne. ", "+44 20 7946 0958", "\u00a0",
]  # fmt: skip
mail = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=10)), max_size=12).map("".join)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(mail, mail, mail)
def test_any_message_is_cleaned_and_satisfies_the_gate(subject: str, text: str, html: str) -> None:
    ticket = clean(subject, text, html)

    assert find_personal_data(ticket.text, phone_regions=REGIONS, suspicions=False) == []
    assert clean(subject, text, html) == ticket
    assert ticket.text.startswith(ticket.subject)


@pytest.mark.slow
@pytest.mark.timeout(20, func_only=True)
@pytest.mark.parametrize(
    "unit", ["De : x\n", "a@b.fr ", "06 12 34 56 78 ", "1.", "mdp: ", "é ", "x"]
)
def test_megabytes_are_cleaned_soon(unit: str) -> None:
    ticket = clean("Journal", unit * (3_000_000 // len(unit)))

    assert 0 < len(ticket.text) <= 100_000
    assert find_personal_data(ticket.text, phone_regions=REGIONS, suspicions=False) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 1, 3])
def test_no_ticket_of_the_sample_is_suspected(tmp_path: Path, seed: int) -> None:
    landing = LandingZone(FolderBlobs(tmp_path))
    mails = generate(until=date(2026, 11, 27), seed=seed)
    landing.land(mail_message(mail.content, "sample") for mail in mails)
    raw = raw_tickets(landing, landing.days(), max_message_bytes=1_000_000).tickets

    tickets = clean_tickets(raw, languages=["fr", "en"], phone_regions=["FR", "GB"]).tickets

    texts = tickets["subject"] + "\n" + tickets["text"]
    assert len(texts) > 2_900
    assert [text for text in texts if find_personal_data(text, phone_regions=["FR", "GB"])] == []


def test_the_desks_own_line_is_heeded_in_tables_and_single_texts() -> None:
    body = "Toujours bloqué.\n\n~~ Répondez ci-haut ~~\nTicket 12"
    delimiter = "~~ Répondez ci-haut ~~"
    raw = pd.DataFrame(
        [
            {
                "ticket_id": "1",
                "received_at": datetime(2026, 3, 1),
                "kind": "email",
                "subject": None,
                "body_text": body,
                "body_html": None,
                "sender_name": None,
            }
        ]
    )

    (text,) = clean_tickets(
        raw, languages=LANGUAGES, phone_regions=REGIONS, reply_delimiter=delimiter
    ).tickets["text"]

    assert text == "Toujours bloqué."


def test_armour_in_the_html_part_is_no_text_either() -> None:
    armour = "<br>".join(
        ["-----BEGIN PGP MESSAGE-----", "", *["A" * 64] * 30, "=abcd", "-----END PGP MESSAGE-----"]
    )

    assert clean(None, "", f"<p>Voir ci-dessous.</p>{armour}").text == "Voir ci-dessous."
