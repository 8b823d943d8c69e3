"""A mail's text is found, however its parts are described, and none of their source is text."""

import base64
import email
from datetime import date

import pytest

from ticket_assets.mail.parsing import parse_message
from ticket_assets.sample.mailbox import generate

TEXT = "L'imprimante est bloquée."


def mail(*headers: str, body: str | bytes) -> bytes:
    lines = ["From: anne@example.org", "Subject: x", *headers]
    head = "".join(f"{line}\n" for line in lines).encode()
    return head + b"\n" + (body.encode() if isinstance(body, str) else body)


def parsed(*headers: str, body: str | bytes):
    return parse_message(mail(*headers, body=body), "eml")


def part(text=TEXT, kind="text/plain", boundary="b1"):
    return (
        f"--{boundary}\nContent-Type: {kind}; charset=utf-8\n"
        f"Content-Transfer-Encoding: base64\n\n{base64.b64encode(text.encode()).decode()}\n"
    )


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Type: multipart/mixed; boundary=other"],
        ["Content-Type: multipart/mixed"],
        ["Content-Type: multipart/mixed; boundary="],
        ['Content-Type: multipart/alternative; boundary="b1'],
        ["Content-Type: multipart; boundary=b1"],
        ["Content-Type: Multipart/Mixed boundary=b1"],
        ["Content-Type: multipart/alternative; bound=b1"],
        ['Content-Type: multipart/related; boundary="B1"; type="text/html"'],
        # The blanks before the second line are lost.
        ["Content-Type: multipart/mixed;", 'boundary="b1"'],
        ["Content-Type: multipart/mixed;", "boundary=b1", "MIME-Version: 1.0"],
        ["Content-Type: multipart/mixed;", 'charset="utf-8";', 'boundary="b1"'],
    ],
)
def test_a_wrong_boundary_costs_no_text(headers):
    message = parsed(*headers, body=f"{part()}{part('<p>x</p>', 'text/html')}--b1--\n")

    assert message.body_text is not None
    assert (message.body_text.strip(), message.body_html) == (TEXT, "<p>x</p>")


@pytest.mark.parametrize("boundary", ["=_{@x}%", "a b", "---", "Apple-Mail=_0!", "|*&~^"])
def test_a_boundary_of_any_signs_is_found(boundary):
    body = f"{part(boundary=boundary)}--{boundary}--\n"

    assert parsed("Content-Type: multipart/mixed; boundary=other", body=body).body_text == TEXT


def test_parts_that_begin_with_another_header_are_found():
    body = f"--b1\nMIME-Version: 1.0\nContent-Type: text/plain\n\n{TEXT}\n--b1--\n"

    assert parsed("Content-Type: multipart/mixed", body=body).body_text == TEXT


def test_headers_below_an_unfolded_one_are_read():
    content = (
        b"From: anne@example.org\nContent-Type: multipart/mixed;\nboundary=b1\n"
        b"To: desk@example.org\nSubject: VPN\n\n" + part().encode() + b"--b1--\n"
    )
    message = parse_message(content, "eml")

    assert (message.subject, message.recipients) == ("VPN", ["desk@example.org"])
    assert message.body_text == TEXT


def test_a_part_whose_own_boundary_is_wrong_is_read_and_so_are_the_others():
    inner = f"Content-Type: multipart/alternative; boundary=none\n\n{part(boundary='b2')}--b2--\n"
    picture = "Content-Type: image/png; name=a.png\n\nx\n"
    message = parsed(
        "Content-Type: multipart/mixed; boundary=b1", body=f"--b1\n{inner}--b1\n{picture}--b1--\n"
    )

    assert (message.body_text, message.attachments) == (TEXT, ["a.png"])


@pytest.mark.parametrize(
    "notice",
    [
        "This is a multi-part message in MIME format.\n",
        "Dies ist eine mehrteilige Nachricht im MIME-Format.\n\n",
        "This message is in MIME format. Since your mail reader does not understand\n"
        "this format, some or all of this message may not be legible.\n\n",
    ],
)
def test_a_notice_of_mail_programs_above_the_parts_is_no_text(notice):
    message = parsed("Content-Type: multipart/mixed; boundary=x", body=f"{notice}{part()}--b1--\n")

    assert message.body_text == TEXT


def test_words_around_parts_whose_boundary_was_looked_for_are_text():
    body = f"Notre passerelle livre ceci :\n{part()}--b1--\nEst-ce normal ?\n"
    message = parsed("Content-Type: multipart/mixed", body=body)

    assert message.body_text == f"Notre passerelle livre ceci :\n{TEXT}\nEst-ce normal ?"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([], f"Voici la source :\n{part()}--b1--\nMerci\n"),
        (["Content-Type: text/plain"], f"{part()}--b1--\n"),
        (["Content-Type: multipart/mixed"], "Hallo,\n-- \nContent: leer\n--b\nUte\n"),
        (["Content-Type: multipart/mixed; boundary=x"], "--y\nkein Kopf\n\n--y--\n"),
    ],
)
def test_source_that_somebody_shows_is_text(headers, body):
    assert parsed(*headers, body=body).body_text == body


def test_lines_like_a_boundary_in_a_part_that_has_one_are_text():
    shown = "Im Quelltext:\n\n--b2\nContent-Type: text/html\n\nund nichts weiter."
    body = f"--b1\nContent-Type: text/plain\n\n{shown}\n--b1--\n"

    assert parsed("Content-Type: multipart/mixed; boundary=b1", body=body).body_text == shown


@pytest.mark.parametrize(
    "encoding",
    [
        "quoted-printable;",
        "quoted-printable ; charset=utf-8",
        '"quoted-printable"',
        "'Quoted-Printable'",
        "quoted-printable (by the gateway)",
        "(a comment) quoted-printable",
        " Quoted-Printable ",
        "quoted-printable,",
    ],
)
def test_a_transfer_encoding_is_known_with_signs_around_it(encoding):
    message = parsed(
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Transfer-Encoding: {encoding}",
        body="C=C3=A2ble d=C3=A9branch=C3=A9",
    )

    assert message.body_text == "Câble débranché"


@pytest.mark.parametrize("encoding", ["base64;", '"base64"', "BASE64 (x)"])
def test_so_is_base64(encoding):
    message = parsed(
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Transfer-Encoding: {encoding}",
        body=base64.b64encode(TEXT.encode()),
    )

    assert message.body_text == TEXT


@pytest.mark.parametrize("encoding", ["8bit;", '"7bit"', "binary (x)", ";", "()", "none", ""])
def test_signs_of_an_encoding_that_is_not_named_are_text(encoding):
    text = "Affiché : d=C3=A9j=C3=A0, VGVzdA=="
    message = parsed(
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Transfer-Encoding: {encoding}",
        body=text,
    )

    assert message.body_text == text


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
def test_a_part_in_a_charset_of_seven_bits_is_decoded(kind):
    seven_bits = parsed(f'Content-Type: {kind}; charset="utf-7"', body="D+APw-bel und Gr+APYA3w-e")
    escaped = parsed(f"Content-Type: {kind}; charset=ISO-2022-JP", body=b"\x1b$B%W%j%s%?\x1b(B 3")

    assert (seven_bits.body_text or seven_bits.body_html) == "Dübel und Größe"
    assert (escaped.body_text or escaped.body_html) == "プリンタ 3"


def test_one_bad_byte_costs_no_other_letter_of_a_text():
    body = "Le réseau est coupé à l’étage".encode() + b" - re\xe7u par la passerelle"

    assert parsed("Content-Type: text/plain; charset=utf-8", body=body).body_text == (
        "Le réseau est coupé à l’étage - reçu par la passerelle"
    )


def test_enclosures_in_a_text_are_taken_out():
    body = "Voir.\n\nbegin 644 a.csv\n#0V%T\n`\nend\n"
    message = parsed("Content-Type: text/plain; format=flowed", body=body)

    assert (message.body_text, message.attachments) == ("Voir.\n\n", ["a.csv"])


def test_a_text_below_headers_without_an_empty_line_is_kept_whole():
    body = "Bonjour,\nEcran: noir\nNote: depuis hier\n\nMerci\n"
    content = b"From: a@b.fr\nSubject: x\n" + body.encode()

    assert parse_message(content, "eml").body_text == body


@pytest.mark.parametrize("outer", ["b", "b1", "----=_Part", "b--"])
def test_a_boundary_that_begins_another_or_a_line_of_text_divides_nothing(outer):
    text = f'--{outer}x\n -- {outer}\n--{outer}--y\nboundary="{outer}"\n--b9\n'
    inner = (
        f'Content-Type: multipart/alternative; boundary="{outer}2"\n\n'
        f"--{outer}2\nContent-Type: text/plain\n\n{text}\n"
        f"--{outer}2\nContent-Type: text/html\n\n<p>x</p>\n--{outer}2--\n"
    )
    message = parsed(
        f'Content-Type: multipart/mixed;\n boundary="{outer}"; type="text/plain"',
        body=f"--{outer}\n{inner}\n--{outer} \nContent-Type: image/png\n\nx\n--{outer}--\n",
    )

    assert (message.body_text, message.body_html) == (text, "<p>x</p>")
    assert message.attachments == ["attachment.png"]


def test_regular_mail_has_the_texts_that_the_standard_library_finds():
    compared = 0
    for sent in generate(messages=300, days=30, until=date(2026, 3, 1)):
        regular = email.message_from_bytes(sent.content)
        found: dict[str, list[str]] = {"text/plain": [], "text/html": []}
        for each in regular.walk():
            if each.get_content_type() in found and each.get_filename() is None:
                octets, charset = each.get_payload(decode=True), each.get_content_charset("utf-8")
                found[each.get_content_type()].append(octets.decode(charset, "replace"))
        plain, html = ("\n".join(texts).replace("\r\n", "\n") for texts in found.values())
        # What the product mends and the library does not, and what holds nothing.
        if b"format=flowed" in sent.content or "\ufffd" in plain or not regular["Subject"]:
            continue
        message = parse_message(sent.content, "eml")
        assert (message.body_text or "", message.body_html or "") == (plain, html)
        compared += 1

    assert compared > 200
