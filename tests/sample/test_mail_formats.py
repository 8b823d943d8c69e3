"""What a mail parser meets in the sample mailbox."""

import io
import re
import zipfile
import zlib
from collections import Counter
from email import message_from_bytes
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.policy import default
from functools import cache

import pytest

from ticket_assets.sample.mailbox import SampleMail


@pytest.fixture(scope="module")
def sources(mails: list[SampleMail]) -> list[bytes]:
    return [mail.content for mail in mails if mail.group != "broken"][:1200]


@pytest.fixture(scope="module")
def messages(sources: list[bytes]) -> list[EmailMessage]:
    # While it parses, the standard library asks for the same header of a part several times.
    policy = default.clone(header_factory=cache(HeaderRegistry()))
    return [message_from_bytes(source, policy=policy) for source in sources]


@pytest.fixture(scope="module")
def texts(messages: list[EmailMessage]) -> list[str]:
    bodies = [message.get_body(("plain", "html")) for message in messages]
    return [body.get_content() for body in bodies if body is not None]


@pytest.mark.slow
def test_every_part_decodes_without_a_defect(messages: list[EmailMessage]) -> None:
    parts = [part for message in messages for part in message.walk()]

    assert [part.defects for part in parts if part.defects] == []
    # Outlook does put encoded words into the quoted names of files, against RFC 2047.
    defective = {
        part.get_content_disposition()
        for part in parts
        for value in part.values()
        if getattr(value, "defects", ())
    }
    assert defective == {"attachment"}
    for part in parts:
        if part.get_content_maintype() == "text":
            part.get_payload(decode=True).decode(part.get_content_charset("ascii"), "strict")


@pytest.mark.slow
def test_all_structures_charsets_and_encodings_occur(messages: list[EmailMessage]) -> None:
    roots = Counter(message.get_content_type() for message in messages)
    parts = [part for message in messages for part in message.walk() if not part.is_multipart()]
    text_parts = [part for part in parts if part.get_content_disposition() is None]

    assert (
        min(
            roots[kind]
            for kind in ("text/plain", "text/html", "multipart/alternative", "multipart/mixed")
        )
        >= 40
    )
    assert {part.get_content_charset() for part in text_parts} == {
        "utf-8",
        "iso-8859-1",
        "iso-8859-15",
        "windows-1252",
    }
    assert {part["Content-Transfer-Encoding"] for part in text_parts} == {
        "8bit",
        "base64",
        "quoted-printable",
    }


def test_mail_comes_from_many_clients(messages: list[EmailMessage]) -> None:
    products = Counter(
        str(message["X-Mailer"] or message["User-Agent"] or "none") for message in messages
    )

    assert set(products) == {
        "Apple Mail (2.3774.600.62)",
        "Microsoft Office Outlook 12.0",
        "Microsoft Outlook 16.0",
        "Mozilla Thunderbird",
        "Roundcube Webmail/1.6.5",
        "iPhone Mail (21F90)",
        "none",
    }
    assert min(products.values()) >= 20


def test_accented_subjects_come_in_both_encodings_and_read_back(
    sources: list[bytes], messages: list[EmailMessage]
) -> None:
    subjects = re.findall(
        rb"^Subject: (?:=\?([\w-]+)\?([QB])\?)?", b"\n".join(sources), re.MULTILINE
    )

    assert {encoding for _, encoding in subjects} == {b"", b"Q", b"B"}
    assert sum("é" in message["Subject"] for message in messages) > 100
    assert all("=?" not in message["Subject"] for message in messages)
    assert all(len(line) <= 998 for source in sources for line in source.splitlines())


@pytest.mark.parametrize(
    "mark",
    [
        r"^Le \w{3}\. \d+ \S+ \d{4} à \d\d:\d\d, [^<\n]+<[^>]+>\sa\sécrit\s:",
        r"^Le \d\d/\d\d/\d{4} à \d\d:\d\d, .+ a écrit :$",
        r"^On \w{3}, \d+ \w{3} \d{4} at \d\d:\d\d, .+\swrote:$",
        r"^-----Message d'origine-----\nDe : .+\nEnvoyé : .+\nÀ : .+\nObjet : ",
        r"^-----Original Message-----\nFrom: .+\nSent: .+\nTo: .+\nSubject: ",
        r"^_{32}\nDe\xa0: .+\nEnvoyé\xa0: .+\nÀ\xa0: .+\nObjet\xa0: ",
        r"^_{32}\nFrom: .+\nSent: .+\nTo: .+\nSubject: ",
        r"^> \S",
        r"^>> \S",
        r"^-- $",
        r"^Envoyé de mon iPhone$",
        r"^Télécharger Outlook pour iOS$",
        r"^Tél\. : 0[1-9]",
        r"class=\"MsoNormal\"",
    ],
)
def test_signatures_and_quotes_look_as_clients_write_them(texts: list[str], mark: str) -> None:
    marked = [text for text in texts if re.search(mark, text, re.MULTILINE)]

    assert len(marked) >= 2


def test_html_and_plain_alternatives_say_the_same(messages: list[EmailMessage]) -> None:
    compared = 0
    for message in messages:
        if message.get_content_type() == "multipart/alternative" and "RE" not in message["Subject"]:
            plain, html = (part.get_content() for part in message.iter_parts())
            first_line = next(line for line in plain.splitlines() if line.strip()).split(" <")[0]
            assert first_line.strip().split("&")[0].split("<")[0] in html
            compared += 1
    assert compared > 100


def test_replies_belong_to_a_thread(messages: list[EmailMessage]) -> None:
    ids = {message["Message-ID"] for message in messages}
    replies = [message for message in messages if message["In-Reply-To"]]

    assert 0.09 < len(replies) / len(messages) < 0.15
    for reply in replies:
        thread = reply["References"].split()
        assert thread[0] in ids
        assert thread[-1] == reply["In-Reply-To"]
        assert reply["Subject"].startswith(("RE: ", "Re: ", "RE : "))


def test_some_mail_is_passed_on_by_colleagues(messages: list[EmailMessage]) -> None:
    prefixes = Counter(message["Subject"].split(":")[0].strip() for message in messages)

    assert min(prefixes["TR"], prefixes["FW"], prefixes["Fwd"]) >= 5


def test_attachments_are_what_they_claim_to_be(messages: list[EmailMessage]) -> None:
    files: dict[str, list[bytes]] = {}
    for message in messages:
        for part in message.iter_attachments():
            name = part.get_filename() or ""
            data = part.get_payload(decode=True)
            files.setdefault(name.rsplit(".")[-1], []).append(data)

    assert set(files) == {"png", "pdf", "log", "docx"}
    assert all(100 < len(data) < 10_000 for kind in files.values() for data in kind)
    for data in files["png"]:
        start = data.index(b"IDAT")
        size = int.from_bytes(data[start - 4 : start], "big")
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        assert len(zlib.decompress(data[start + 4 : start + 4 + size])) == height * (width + 1)
    for data in files["docx"]:
        assert "word/document.xml" in zipfile.ZipFile(io.BytesIO(data)).namelist()
    for data in files["pdf"]:
        table = int(data.split(b"startxref\n")[1].split()[0])
        assert data[table:].startswith(b"xref")


def test_addresses_are_of_reserved_domains_only(texts: list[str], sources: list[bytes]) -> None:
    domains = {
        domain.lower()
        for text in [*texts, *(source.split(b"\n\n")[0].decode("ascii") for source in sources)]
        for domain in re.findall(r"[\w.+$-]+@([\w.-]+\w)", text)
    }

    assert {domain for domain in domains if not re.search(r"(^|\.)example(\.\w{3})?$", domain)} == (
        set()
    )


def test_personal_data_occurs_for_masking_to_find(texts: list[str]) -> None:
    whole = "\n".join(texts)

    ibans = re.findall(r"\b(?:FR|GB)\d\d(?: \w{1,4}){4,6}\b", whole)

    assert ibans
    for iban in ibans:
        compact = iban.replace(" ", "")
        assert int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97 == 1
    assert re.search(r"\b04 65 71 \d\d \d\d\b", whole)
    assert re.search(r"\b020 7946 0\d{3}\b", whole)
    assert re.search(r"\b(?:192\.0\.2|10\.\d+\.4)\.\d+\b", whole)
