"""Tokens keep what tells tickets apart: negations, codes, versions, products, paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.text.tokens import tokens


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("fr", "Le VPN ne fonctionne pas", ["vpn", "ne", "fonctionne", "pas"]),
        ("fr", "L'imprimante n'imprime plus", ["imprimante", "ne", "imprime", "plus"]),
        ("fr", "n'imprime-t-il jamais", ["ne", "imprime", "jamais"]),
        ("fr", "Aujourd’hui, j'ai l’erreur 691", ["erreur", "691"]),
        ("fr", "sans accès, jamais, rien", ["sans", "accès", "jamais", "rien"]),
        ("fr", "Puis-je imprimer ? Pouvez-vous voir", ["imprimer"]),
        ("fr", "le wi-fi et l'e-mail", ["wi-fi", "e-mail"]),
        ("en", "I can't log in, it does not work", ["not", "log", "not", "work"]),
        ("en", "The user's screen isn't on", ["user", "screen", "not"]),
        ("en", "no access without VPN", ["no", "access", "without", "vpn"]),
        ("de", "Ich kann mich nicht anmelden, kein Netz", ["nicht", "anmelden", "kein", "netz"]),
        ("de", "nie, nichts, keine Verbindung", ["nie", "nichts", "keine", "verbindung"]),
        ("es", "No puedo entrar sin contraseña", ["no", "entrar", "sin", "contraseña"]),
        ("pt", "Não consigo entrar sem senha", ["não", "consigo", "entrar", "sem", "senha"]),
        ("fr", "erreur 0x80070005 sur KB5034441", ["erreur", "0x80070005", "kb5034441"]),
        (
            "en",
            "Office365 10.0.19045.3803 ORA-12154",
            ["office365", "10.0.19045.3803", "ora-12154"],
        ),
        ("en", r"C:\Temp\x.log missing", [r"c:\temp\x.log", "missing"]),
        ("en", r"share \\srv01\data denied", ["share", r"\\srv01\data", "denied"]),
        ("en", "see /var/log/app.log", ["see", "/var/log/app.log"]),
        ("en", "https://portal.office.com/login?x=1 down", ["portal.office.com"]),
        ("en", "Windows 11, 12 laptops, 12/03/2024 10:22", ["windows", "11", "laptops"]),
        ("fr", "le 12.03.2024 en salle 204", ["salle"]),
        ("fr", "appeler [PHONE] ou [EMAIL]", ["appeler"]),
        ("en", "C++ and C# fail", ["c++", "c#", "fail"]),
        ("fr", "imprimante/scanner HS", ["imprimante", "scanner", "hs"]),
        ("xx", "il mio PC", ["il", "mio", "pc"]),
    ],
)
def test_tokens_of_a_sentence(language: str, text: str, expected: list[str]) -> None:
    assert tokens(text, language) == expected


@given(st.text(max_size=200), st.sampled_from(["fr", "en", "de", "es", "pt", "xx"]))
def test_tokens_hold_no_blank_and_are_lower_case(text: str, language: str) -> None:
    words = tokens(text, language)

    assert " ".join(words).split() == words
    assert [token.lower() for token in words] == words
