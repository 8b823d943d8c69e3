"""Secrets that only the words around them give away, and what is left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ticket_assets.desk import Desk
from ticket_assets.settings import Settings
from ticket_assets.text.cleaning import CleanText, clean_text, clean_tickets
from ticket_assets.text.privacy import find_personal_data, mask_personal_data
from ticket_assets.text.secret_passages import secret_passages
from ticket_assets.text.secrets_in_context import SecretsInContext

REGIONS = ("FR", "BE", "CH", "GB", "US", "DE", "ES", "PT")
LANGUAGES = ("fr", "en", "de", "es", "pt")
TABLE = yaml.safe_load(Path(__file__).with_name("secrets_afresh.yaml").read_text("utf-8"))
"""Never learn from these."""


@pytest.fixture(scope="module")
def secrets() -> SecretsInContext:
    found = Desk(Settings(_env_file=None)).secrets_in_context
    assert found is not None
    return found


def cleaned(text: str, secrets: SecretsInContext | None, subject: str | None = None) -> CleanText:
    return clean_text(
        subject, text, None, languages=LANGUAGES, phone_regions=REGIONS, secrets=secrets
    )


def masked(texts: list[str], secrets: SecretsInContext) -> list[str]:
    """Texts as they are cleaned, but for what quotes and signatures are."""
    by_rules = [mask_personal_data(t, phone_regions=REGIONS, by_words=False).text for t in texts]
    spans = secrets.spans(by_rules, list(map(secret_passages, by_rules)))
    for row, of_text in enumerate(spans):
        for start, end in reversed(of_text):
            by_rules[row] = f"{by_rules[row][:start]}[PASSWORD]{by_rules[row][end:]}"
    return by_rules


def is_suspected(texts: list[str], secrets: SecretsInContext) -> list[bool]:
    return [
        is_suspicious or bool(find_personal_data(text, phone_regions=REGIONS, passwords=False))
        for text, is_suspicious in zip(texts, secrets.are_suspicious(texts), strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mit Tannenwald komme ich nicht mehr rein", "mit [PASSWORD] komme ich nicht mehr rein"),
        ("je tape Brouette et rien ne se passe", "je tape [PASSWORD] et rien ne se passe"),
        (
            "Elle m'a dit que c'était girafe mais ma session le refuse.",
            "Elle m'a dit que c'était [PASSWORD] mais ma session le refuse.",
        ),
    ],
)
def test_a_secret_without_a_name_is_masked(
    text: str, expected: str, secrets: SecretsInContext
) -> None:
    assert mask_personal_data(text, phone_regions=REGIONS).text == text

    assert cleaned(text, secrets).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "Mon mot de passe est à jour, j'ai vérifié",
        "Mon mot de passe est a jour, j'ai verifie",
        "Mein Benutzername lautet ohlendorf2, der Rest ist mir bekannt.",
        "The machine in Lincoln House says no",
        "Julien Noël et Chloé Tessier ont le même souci",
        "L'imprimante IMP-LYO-41 du deuxième est en panne",
    ],
)
def test_what_is_no_secret_stays_and_is_not_suspected(text: str, secrets: SecretsInContext) -> None:
    assert cleaned(text, secrets).text == text
    assert is_suspected([text], secrets) == [False]


def test_a_ticket_is_described_as_it_is_masked(secrets: SecretsInContext) -> None:
    clean = cleaned(
        "Bonjour,\nje tape Brouette et rien ne se passe, 06 12 34 56 78", secrets, "Session"
    )

    assert clean.text.startswith("Session\nBonjour,\nje tape [PASSWORD] et rien")
    assert clean.subject == "Session"
    assert clean.masked == {"PASSWORD": 1, "PHONE": 1}
    assert "brouette" not in clean.tokens
    assert clean == cleaned(
        "Bonjour,\nje tape [PASSWORD] et rien ne se passe, [PHONE]", None, "Session"
    )._replace(masked=clean.masked)


def test_tables_are_masked_as_single_texts_are(secrets: SecretsInContext) -> None:
    texts = ["je tape Brouette et rien ne se passe", "l'écran est noir", *TABLE["secrets"][:30]]
    raw = pd.DataFrame(
        {
            "ticket_id": [str(row) for row in range(len(texts))],
            "received_at": pd.Timestamp("2026-05-04"),
            "kind": "request",
            "subject": None,
            "body_text": texts,
            "body_html": None,
            "sender_name": None,
        },
        dtype=object,
    )

    tickets = clean_tickets(
        raw, languages=LANGUAGES, phone_regions=REGIONS, secrets=secrets
    ).tickets

    assert tickets["text"].tolist() == [cleaned(text, secrets).text for text in texts]


@pytest.mark.slow
def test_of_secrets_written_afresh_few_stay_and_the_gate_suspects_most_of_those(
    secrets: SecretsInContext,
) -> None:
    texts = [re.sub("[⟦⟧]", "", text) for text in TABLE["secrets"]]
    missed = [
        text
        for text, marked in zip(masked(texts, secrets), TABLE["secrets"], strict=True)
        if any(secret in text for secret in re.findall("⟦(.*?)⟧", marked, re.DOTALL))
    ]
    ordinary = masked(TABLE["ordinary"], secrets)
    changed = [text for text, was in zip(ordinary, TABLE["ordinary"], strict=True) if text != was]

    assert len(texts) >= 260
    assert len(ordinary) >= 670
    assert len(missed) / len(texts) < 0.1
    assert len(changed) / len(ordinary) < 0.02
    assert sum(is_suspected(missed, secrets)) / len(missed) > 0.6


def test_a_desk_can_do_without() -> None:
    assert Desk(Settings(_env_file=None, secrets_in_context=False)).secrets_in_context is None


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_read(text: str, secrets: SecretsInContext) -> None:
    (spans,) = secrets.spans([text], [secret_passages(text)])

    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
