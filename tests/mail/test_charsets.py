"""Text keeps its letters, whatever charset a mail names, and a damaged byte costs itself alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.mail.charsets import decode, decode_unlabelled

FRENCH = "Mon accès au réseau a été coupé à 14 h, et l’écran reste gelé."


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (FRENCH.encode(), FRENCH),
        (FRENCH.encode("cp1252"), FRENCH),
        (b"plain", "plain"),
        # A gateway's footer, a letter of another program, a cut mail.
        (
            "Größere Störung, früher möglich".encode() + b" - gepr\xfcft",
            "Größere Störung, früher möglich - geprüft",
        ),
        (
            "Conexión perdida, avería\n".encode() + b"\x96 antivirus",
            "Conexión perdida, avería\n– antivirus",
        ),
        ("não há ligação à rede".encode() + b"\xc3", "não há ligação à redeÃ"),
        # As many valid as invalid ones: still UTF-8.
        (b"caf\xc3\xa9 caf\xe9", "café café"),
        (b"caf\xe9 d\xe9j\xe0 \xc3\xa9", "café déjà Ã©"),
    ],
)
def test_most_bytes_decide_between_utf_8_and_windows_1252(octets, text):
    assert decode_unlabelled(octets) == text


@given(st.text("éàüñçß€’ abc", min_size=1), st.sampled_from("éüÀ–"), st.data())
def test_a_byte_of_another_charset_costs_no_other_letter(text, letter, data):
    at = data.draw(st.integers(0, len(text)))
    octets = text[:at].encode() + letter.encode("cp1252") + b" " + text[at:].encode()
    whole = f"{text[:at]}{letter} {text[at:]}"

    if any(character in text for character in "éàüñçß€’"):
        assert decode_unlabelled(octets) == whole
        assert decode(octets, "utf-8") == whole


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-7", "Clé USB refusée à l’étage + 1"),
        ("UTF-7", "Größe"),
        ("'utf-7'", "Größe"),
        ("unicode-1-1-utf-7", "Größe"),
        ("x-unicode-2-0-utf-7", "Größe"),
        ("iso-2022-jp", "印刷できません"),
        ("iso-2022-kr", "인쇄"),
        ("hz-gb-2312", "打印机"),
        ("utf-16", "Écran"),
        ("utf_16_le", "Écran"),
        ("shift_jis", "印刷"),
    ],
)
def test_letters_written_in_seven_bits_or_two_bytes_are_decoded(charset, text):
    python_name = "utf-7" if "7" in charset.lower().partition("utf-")[2] else charset.lower()
    assert decode(text.encode({"hz-gb-2312": "hz"}.get(python_name, python_name)), charset) == text


@pytest.mark.parametrize("charset", ["utf-8", "us-ascii", "windows-1252", "iso-8859-15", "none"])
@pytest.mark.parametrize("text", ["prise +AOk-7, câble +APw-12", "1 + 1 = 2; ~{ und }", "\x1b$B"])
def test_the_same_signs_in_other_charsets_are_left_alone(charset, text):
    octets = text.encode("cp1252" if charset in ("windows-1252", "iso-8859-15") else "utf-8")

    assert decode(octets, charset) == text


def test_a_bad_byte_costs_itself_alone_in_charsets_of_two_bytes_too():
    octets = "印刷できません、プリンタ".encode("shift_jis")

    assert decode(octets + b"\xff.", "shift_jis") == "印刷できません、プリンタ\ufffd."


def test_plain_text_that_calls_itself_utf_16_or_utf_7_stays():
    assert decode(b"The printer is broken!", "utf-16") == "The printer is broken!"
    assert decode(b"call +33 6, C++", "utf-7") == "call +33 6, C++"


@pytest.mark.parametrize("charset", ["hex", "punycode", "idna", "undefined", "x\x00", "", "rot13"])
def test_what_names_no_charset_of_text_costs_no_letter(charset):
    assert decode(FRENCH.encode(), charset) == FRENCH
