"""The language is one the desk receives, and its main one when the text is too short to tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.text.language import detect_language

ALLOWED = ("fr", "en", "de", "es", "pt")
SHORT_LINES = yaml.safe_load(Path(__file__).with_name("short_lines.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bonjour, mon imprimante ne fonctionne plus depuis ce matin", "fr"),
        ("Hello, my printer stopped working this morning", "en"),
        ("Guten Tag, mein Drucker funktioniert seit heute nicht mehr", "de"),
        ("Buenos días, mi impresora no funciona desde esta mañana", "es"),
        ("Bom dia, a minha impressora não funciona desde hoje", "pt"),
        ("Mot de passe oublié", "fr"),
        ("Password forgotten", "en"),
        ("Drucker defekt im Erdgeschoss", "de"),
        ("[EMAIL] [PHONE] C:\\Program Files\\Common\\error.log Écran noir au démarrage", "fr"),
    ],
)
def test_language_of_a_text(text: str, language: str) -> None:
    assert detect_language(text, ALLOWED) == language


def test_short_lines_are_told_by_their_words() -> None:
    lines = [(line, language) for language, lines in SHORT_LINES.items() for line in lines]
    wrong = [line for line in lines if detect_language(line[0], ALLOWED) != line[1]]

    assert len(lines) >= 200
    assert len(wrong) <= 0.02 * len(lines), wrong


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ('Der Dienst meldet "The remote server returned an error: Forbidden" beim Start', "de"),
        ("La fenêtre affiche « Der Zugriff wurde verweigert, bitte anmelden » au login", "fr"),
        ('"The remote server returned an error"', "en"),
        ("Maus kaputt", "de"),
        ("geht nix", "de"),
        ("No va", "es"),
        ("Teams SAP VPN", "fr"),
    ],
)
def test_quotes_and_few_letters(text: str, language: str) -> None:
    assert detect_language(text, ALLOWED) == language


@pytest.mark.parametrize("text", ["", "VPN", "0x80070005 [EMAIL]", "!!!", "?", "12 34 56 78 90 12"])
def test_too_few_letters_give_the_main_language(text: str) -> None:
    assert detect_language(text, ("de", "fr")) == "de"


def test_a_language_the_desk_does_not_receive_is_never_given() -> None:
    assert detect_language("Mi impresora no funciona desde esta mañana", ("fr", "en")) in (
        "fr",
        "en",
    )


@given(st.text(max_size=200))
def test_any_text_has_one_of_the_languages_and_always_the_same(text: str) -> None:
    language = detect_language(text, ALLOWED)

    assert language in ALLOWED
    assert detect_language(text, ALLOWED) == language
