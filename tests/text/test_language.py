"""The language is one the desk receives, and its main one when the text is too short to tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.text.language import detect_language

ALLOWED = ("fr", "en", "de", "es", "pt")


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
