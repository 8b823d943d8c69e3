"""How mail clients send a letter: structure, charset, headers, and the way to the desk."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

from ticket_assets.sample.attachments import Attachment
from ticket_assets.sample.layout import html_page, plain_text
from ticket_assets.sample.letters import DESK, Letter
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


def sent(
    letter: Letter,
    message_id: str,
    rng: Random,
    *,
    copied: Person | None = None,
    references: tuple[str, ...] = (),
    file: Attachment | None = None,
    urgent: bool = False,
    automatic: bool = False,
) -> bytes:
    """The message as it leaves the author's client, without the Received lines of its way."""
    author, client = letter.author, letter.author.client
    charset = rng.choice(client.charsets)

    def named(name: str, mailbox: str) -> str:
        return address(name, mailbox, charset, client.header_encoding)

    recipient = named(rng.choice(author.language.forms.desk_names), DESK)
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
        headers.append((client.product[0], client.product[1]))
    headers.append(("MIME-Version", "1.0"))
    entity = _body(letter, charset, file, rng)
    return rendered([*headers, *entity.headers], entity)


def received_lines(moment: datetime, rng: Random) -> bytes:
    """The Received headers of one delivery; a second delivery of the same mail gets others."""
    arrival = moment.astimezone(UTC)
    by_relay = format_datetime(arrival + timedelta(seconds=rng.randrange(2)))
    by_mailbox = format_datetime(arrival + timedelta(seconds=rng.randrange(2, 5)))
    return (
        f"Received: by imap.example.org (LMTP) id {identifier('{10X}', rng)};\n\t{by_mailbox}\n"
        f"Received: from relay{rng.randrange(1, 6)}.example.net (192.0.2.{rng.randrange(2, 60)})\n"
        f"\tby mx{rng.randrange(1, 4)}.example.org with ESMTPS id {identifier('{10X}', rng)};\n"
        f"\t{by_relay}\n"
    ).encode("ascii")


def identifier(pattern: str, rng: Random) -> str:
    """`pattern` with as many random hexadecimal digits as {8x} or, in capitals, {8X} asks for."""
    return re.sub(
        r"\{(\d+)([xX])\}",
        lambda match: format(rng.getrandbits(4 * int(match[1])), f"0{match[1]}{match[2]}"),
        pattern,
    )


def _body(letter: Letter, charset: str, file: Attachment | None, rng: Random) -> Entity:
    client = letter.author.client
    structure, encoding = rng.choice(client.structures), rng.choice(client.encodings)
    boundary = identifier(client.boundary, rng)
    parts = []
    if structure in ("plain", "alternative"):
        text = plain_text(letter, client)
        flowed = "; format=flowed" if client.flowed else ""
        parts.append(text_entity(text, "plain", charset, encoding, flowed))
    if structure in ("html", "alternative"):
        parts.append(text_entity(html_page(letter, client), "html", charset, encoding))
    entity = multipart("alternative", boundary, parts) if len(parts) > 1 else parts[0]
    if file:
        attached = attachment_entity(
            file.name, file.media_type, file.data, client.encoded_file_names
        )
        entity = multipart("mixed", identifier(client.boundary, rng), [entity, attached])
    return entity
