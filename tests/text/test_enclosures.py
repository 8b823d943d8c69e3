"""What a program put into the text is taken out; what somebody wrote about it stays."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.text.enclosures import open_enclosures

SIGNATURE = """-----BEGIN PGP SIGNATURE-----
Version: GnuPG v2
Comment: Using GnuPG with Thunderbird - https://www.enigmail.net/

iQIzBAEBCAAdFiEEq7vGQmJtX3Zf0f4wq3zq0b1x9eYFAmZ0aGVyZQAKCRCrfOrR
vXH15t0hD/9bWm9iaQ
=Zk3a
-----END PGP SIGNATURE-----
"""
KEY = SIGNATURE.replace("SIGNATURE", "PUBLIC KEY BLOCK")
CIPHERTEXT = SIGNATURE.replace("SIGNATURE", "MESSAGE")


def uuencoded(name, content):
    lines = [binascii.b2a_uu(content[at : at + 45]).decode() for at in range(0, len(content), 45)]
    return f"begin 644 {name}\n{''.join(lines)}`\nend\n"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("text", "own"),
    [
        (f"Bonjour\n\n{KEY}", "Bonjour\n\n"),
        (f"{CIPHERTEXT}\nMerci\n", "\nMerci\n"),
        (f"{CIPHERTEXT}Voir aussi :\n{KEY}Fin\n", "Voir aussi :\nFin\n"),
        (
            f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nVPN caído\n{SIGNATURE}",
            "VPN caído\n",
        ),
        (
            f"-----BEGIN PGP SIGNED MESSAGE-----\n\n- - gestern\n- -- \nUte\n{SIGNATURE}p.s.\n",
            "- gestern\n-- \nUte\np.s.\n",
        ),
        # A list's footer below the frame, a signature without its text.
        (
            f"Hi\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA1\n\nHello\n{SIGNATURE}____\nlist\n",
            "Hi\nHello\n____\nlist\n",
        ),
        (f"Salut\n{SIGNATURE}", "Salut\n"),
        # The mail was cut inside the block.
        (f"Salut\n{SIGNATURE.partition('vXH')[0]}", "Salut\n"),
    ],
)
def test_the_armour_of_openpgp_is_no_text(text, own, line_end):
    opened = open_enclosures(text.replace("\n", line_end))

    assert opened == (own.replace("\n", line_end), [])


@pytest.mark.parametrize(
    "text",
    [
        "What is -----BEGIN PGP MESSAGE----- for?\n",
        "-----BEGIN PGP MESSAGE-----\nis all that I see, the rest is missing.\n",
        "-----BEGIN PGP SIGNATURE-----\nvoilà ce qui apparaît\n-----END PGP SIGNATURE-----\n",
        "-----BEGIN PGP SIGNATURE-----\n\nMerci\nJeanne\n",
        "-----BEGIN PGP MESSAGE-----\nMerci\n-----END PGP MESSAGE-----\n",
        "-----BEGIN CERTIFICATE-----\nwird abgelehnt\n-----END CERTIFICATE-----\n",
        "- -- ist kein Befehl\n- eins\n",
        "begin 644 tickets\nfor each of them\nend\n",
        "begin work;\nMOVE 12\nend\n",
        "begin 644 notes\nHELLO WORLD\nend\n",
        "begin 755 script.sh\n\nend\n",
        "We begin 644 x\nand end\n",
    ],
)
def test_what_somebody_writes_about_them_stays(text):
    assert open_enclosures(text) == (text, [])


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [1, 44, 45, 46, 90, 400])
def test_an_uuencoded_file_is_an_attachment(size, line_end):
    content = bytes(range(256)) * 2
    text = f"Ci-joint.\n\n{uuencoded('état du parc.csv', content[:size])}Merci\n"

    opened = open_enclosures(text.replace("\n", line_end))

    assert opened.text.splitlines() == ["Ci-joint.", "", "Merci"]
    assert opened.file_names == ["état du parc.csv"]


def test_a_file_in_base64_is_one_too():
    text = "Voir.\nbegin-base64 644 a.bin\nAAECAwQFBgc=\n====\nbegin-base64 644 b\nnon\n"

    assert open_enclosures(text) == ("Voir.\nbegin-base64 644 b\nnon\n", ["a.bin"])


def test_several_files_and_one_that_was_cut_are_attachments():
    files = uuencoded("a.txt", b"a" * 70) + uuencoded("b.txt", b"b" * 7)
    cut = "".join(uuencoded("c.bin", b"c" * 300).splitlines(keepends=True)[:4])

    assert open_enclosures(f"{files}texte\n{cut}") == ("texte\n", ["a.txt", "b.txt", "c.bin"])


LINES = st.lists(st.sampled_from(["Bonjour,", "", "- pas d'accès", "VPN", "begin", "end", "=abc"]))


@given(LINES, LINES, st.sampled_from([KEY, CIPHERTEXT, SIGNATURE, uuencoded("a.txt", b"text")]))
def test_own_lines_around_an_enclosure_survive(above, below, block):
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (above, below))

    assert open_enclosures(before + block + after).text == before + after


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        "-----BEGIN PGP MESSAGE-----\n",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: x\n",
        "-----BEGIN PGP MESSAGE-----\n" + "A" * 60 + "\n",
        "-----BEGIN PGP MESSAGE-----\nA: b\n \n",
        "begin 644 a\n",
        "begin 644 " + "a " * 100 + "\nM\n",
        "begin 644 a\n \n",
    ],
)
def test_no_text_takes_for_ever(unit):
    assert open_enclosures(unit * (1_000_000 // len(unit))) is not None
