"""How each mail client sends a letter: structure, charset, signature, quoting, headers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

from ticket_assets.sample import html, plain
from ticket_assets.sample.attachments import Attachment
from ticket_assets.sample.letters import Letter
from ticket_assets.sample.mime import (
    Entity,
    Header,
    address,
    attachment_entity,
    encoded_words,
    multipart,
    rendered,
    text_entity,
)
from ticket_assets.sample.people import Person

DESK = "support@example.org"


@dataclass(frozen=True)
class MailClient:
    """The habits by which a client's mail can be told from another's."""

    product: Header | None
    structures: tuple[str, ...]
    """Of "plain", "html" and "alternative", each as often as it stands here."""
    charsets: tuple[str, ...]
    encodings: tuple[str, ...]
    header_encoding: str
    """"q" or "b"."""
    boundary: Callable[[Random], str]
    message_id: Callable[[Random], str]
    plain: plain.Style
    html: html.Style


def _hex(length: int, rng: Random) -> str:
    return f"{rng.getrandbits(4 * length):0{length}x}"


CLIENTS = {
    "outlook": MailClient(
        product=("X-Mailer", "Microsoft Outlook 16.0"),
        structures=("alternative", "alternative", "alternative", "html"),
        charsets=("utf-8", "windows-1252", "iso-8859-1"),
        encodings=("quoted-printable", "quoted-printable", "base64"),
        header_encoding="q",
        boundary=lambda rng: f"----=_NextPart_000_{_hex(4, rng)}_{_hex(8, rng)}.{_hex(8, rng)}",
        message_id=lambda rng: f"{_hex(12, rng)}$@{_hex(6, rng)}.example.org",
        plain=plain.Style(quoting="header_block"),
        html=html.WORD,
    ),
    "outlook_classic": MailClient(
        product=("X-Mailer", "Microsoft Office Outlook 12.0"),
        structures=("plain", "plain", "alternative"),
        charsets=("windows-1252", "iso-8859-1"),
        encodings=("quoted-printable", "8bit"),
        header_encoding="q",
        boundary=lambda rng: f"----=_NextPart_001_{_hex(4, rng)}_{_hex(8, rng)}.{_hex(8, rng)}",
        message_id=lambda rng: f"00{_hex(4, rng)}$01d{_hex(5, rng)}$@example.org",
        plain=plain.Style(quoting="original_message"),
        html=html.WORD,
    ),
    "outlook_mobile": MailClient(
        product=None,
        structures=("html", "alternative"),
        charsets=("utf-8", "windows-1252"),
        encodings=("quoted-printable", "base64"),
        header_encoding="b",
        boundary=lambda rng: f"_000_{_hex(20, rng).upper()}PR1P264example_",
        message_id=lambda rng: f"PR1P264MB{_hex(24, rng).upper()}@PR1P264.prod.example.org",
        plain=plain.Style(
            quoting="header_block",
            tag={"fr": "Télécharger Outlook pour iOS", "en": "Get Outlook for iOS"},
        ),
        html=html.MOBILE,
    ),
    "thunderbird": MailClient(
        product=("User-Agent", "Mozilla Thunderbird"),
        structures=("plain", "plain", "plain", "alternative"),
        charsets=("utf-8", "utf-8", "iso-8859-15"),
        encodings=("8bit", "8bit", "quoted-printable"),
        header_encoding="b",
        boundary=lambda rng: f"------------{_hex(24, rng)}",
        message_id=lambda rng: (
            "-".join(_hex(size, rng) for size in (8, 4, 4, 4, 12)) + "@example.org"
        ),
        plain=plain.Style(quoting="angles", separator="-- ", flowed=True, attribution_short=True),
        html=html.THUNDERBIRD,
    ),
    "gmail": MailClient(
        product=None,
        structures=("alternative",),
        charsets=("utf-8",),
        encodings=("quoted-printable", "base64"),
        header_encoding="b",
        boundary=lambda rng: f"000000000000{_hex(16, rng)}",
        message_id=lambda rng: f"CA{_hex(20, rng)}+{_hex(12, rng)}@mail.example.org",
        plain=plain.Style(quoting="angles", separator="-- "),
        html=html.GMAIL,
    ),
    "apple_mail": MailClient(
        product=("X-Mailer", "Apple Mail (2.3774.600.62)"),
        structures=("plain", "alternative"),
        charsets=("utf-8",),
        encodings=("quoted-printable",),
        header_encoding="q",
        boundary=lambda rng: f"Apple-Mail=_{_hex(8, rng).upper()}-{_hex(12, rng).upper()}",
        message_id=lambda rng: f"{_hex(8, rng).upper()}-{_hex(12, rng).upper()}@example.org",
        plain=plain.Style(quoting="angles", attribution_short=True),
        html=html.APPLE,
    ),
    "iphone": MailClient(
        product=("X-Mailer", "iPhone Mail (21F90)"),
        structures=("plain", "html"),
        charsets=("utf-8",),
        encodings=("quoted-printable", "base64"),
        header_encoding="q",
        boundary=lambda rng: f"Apple-Mail-{_hex(8, rng).upper()}-{_hex(12, rng).upper()}",
        message_id=lambda rng: f"{_hex(8, rng).upper()}-{_hex(12, rng).upper()}@example.org",
        plain=plain.Style(
            quoting="angles",
            attribution_short=True,
            tag={"fr": "Envoyé de mon iPhone", "en": "Sent from my iPhone"},
        ),
        html=html.APPLE,
    ),
    "webmail": MailClient(
        product=("User-Agent", "Roundcube Webmail/1.6.5"),
        structures=("plain",),
        charsets=("iso-8859-15", "iso-8859-1", "utf-8"),
        encodings=("8bit", "quoted-printable"),
        header_encoding="q",
        boundary=lambda rng: f"=_{_hex(32, rng)}",
        message_id=lambda rng: f"{_hex(32, rng)}@example.org",
        plain=plain.Style(quoting="original_message", separator="-- "),
        html=html.APPLE,
    ),
}


def sent(
    letter: Letter,
    message_id: str,
    rng: Random,
    *,
    copied: Person | None = None,
    references: tuple[str, ...] = (),
    attachments: tuple[Attachment, ...] = (),
    urgent: bool = False,
    automatic: bool = False,
) -> bytes:
    """The message as it leaves the author's client, without the Received lines of its way."""
    author = letter.author
    client = CLIENTS[author.client]
    charset = rng.choice(client.charsets)

    def named(name: str, mailbox: str) -> str:
        return address(name, mailbox, charset, client.header_encoding)

    desk_names = {"fr": ("Support informatique", "Assistance IT"), "en": ("IT Support",)}
    recipient = named(rng.choice(desk_names[author.language]), DESK)
    if rng.random() < 0.3:
        recipient = rng.choice((DESK, "helpdesk@example.org", f"<{DESK}>"))
    headers: list[Header] = [
        ("From", named(author.name, author.address)),
        ("To", recipient),
        ("Subject", encoded_words(letter.subject, charset, client.header_encoding)),
        ("Date", format_datetime(letter.moment)),
        ("Message-ID", f"<{message_id}>"),
    ]
    if copied:
        headers.append(("Cc", named(copied.name, copied.address)))
    if references:
        headers.append(("In-Reply-To", f"<{references[-1]}>"))
        headers.append(("References", "\n ".join(f"<{one}>" for one in references)))
    if urgent:
        headers += [("Importance", "high"), ("X-Priority", "1 (Highest)")]
    if automatic:
        headers += [("Auto-Submitted", "auto-replied"), ("X-Auto-Response-Suppress", "All")]
    if client.product:
        headers.append(client.product)
    headers.append(("MIME-Version", "1.0"))
    entity = _body(letter, client, charset, attachments, rng)
    return rendered([*headers, *entity.headers], entity)


def received_lines(moment: datetime, rng: Random) -> bytes:
    """The Received headers of one delivery; a second delivery of the same mail gets others."""
    arrived = moment.astimezone(UTC)
    by_relay = format_datetime(arrived + timedelta(seconds=rng.randrange(2)))
    by_mailbox = format_datetime(arrived + timedelta(seconds=rng.randrange(2, 5)))
    return (
        f"Received: by imap.example.org (LMTP) id {_hex(10, rng).upper()};\n\t{by_mailbox}\n"
        f"Received: from relay{rng.randrange(1, 6)}.example.net (192.0.2.{rng.randrange(2, 60)})\n"
        f"\tby mx{rng.randrange(1, 4)}.example.org with ESMTPS id {_hex(10, rng).upper()};\n"
        f"\t{by_relay}\n"
    ).encode("ascii")


def _body(
    letter: Letter,
    client: MailClient,
    charset: str,
    attachments: tuple[Attachment, ...],
    rng: Random,
) -> Entity:
    structure, encoding = rng.choice(client.structures), rng.choice(client.encodings)
    boundary = client.boundary(rng)
    flowed = "; format=flowed" if client.plain.flowed else ""

    def plain_part() -> Entity:
        return text_entity(plain.written(letter, client.plain), "plain", charset, encoding, flowed)

    def html_part() -> Entity:
        text = html.written(letter, client.html, client.plain)
        return text_entity(text, "html", charset, encoding)

    if structure == "plain":
        entity = plain_part()
    elif structure == "html":
        entity = html_part()
    else:
        entity = multipart("alternative", boundary, [plain_part(), html_part()])
    if attachments:
        as_words = client.html is html.WORD
        files = [
            attachment_entity(file.name, file.media_type, file.data, as_words)
            for file in attachments
        ]
        entity = multipart("mixed", client.boundary(rng), [entity, *files])
    return entity
