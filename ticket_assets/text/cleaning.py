"""From raw messages to the text and tokens that models see."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from ticket_assets.parallel import map_chunks
from ticket_assets.storage.tables import TABLES
from ticket_assets.text.characters import readable
from ticket_assets.text.enclosures import open_enclosures
from ticket_assets.text.html import html_to_text
from ticket_assets.text.language import detect_language
from ticket_assets.text.languages import all_words, small_phrases
from ticket_assets.text.privacy import mask_personal_data
from ticket_assets.text.quoting import split_reply
from ticket_assets.text.subjects import is_forwarded, without_prefixes
from ticket_assets.text.tokens import tokens

if TYPE_CHECKING:
    import pandas as pd

MAX_CHARACTERS = 100_000
"""A ticket's text is cut here: pasted logs go on for megabytes and encoders read a few hundred
tokens."""
NOT_REQUESTS = ("auto_reply", "bounce", "list")
"""Kinds of message that are no tickets."""
_MAX_BODY = 2_000_000
_BLANKS = re.compile(r"[ \t]{2,}|\t")
_LINE_BREAKS = re.compile(r" ?\n ?")
_MANY_LINE_BREAKS = re.compile(r"\n{3,}")


class _Patterns:
    """What the words of all languages look like in bodies."""

    def __init__(self) -> None:
        words = all_words()
        self.html_notice = small_phrases(words.html_notices, r"\b")


_patterns = functools.cache(_Patterns)


class CleanText(NamedTuple):
    """One ticket as models see it; `text` is empty when the message says nothing."""

    subject: str
    text: str
    tokens: list[str]
    language: str
    text_hash: str
    """SHA-256 of `text`, in hex."""
    masked: dict[str, int]


class CleanTickets(NamedTuple):
    """The tickets of some messages, and the messages that were left out: ticket_id,
    received_at, reason."""

    tickets: pd.DataFrame
    left_out: pd.DataFrame


def clean_text(
    subject: str | None,
    body_text: str | None,
    body_html: str | None,
    *,
    languages: Sequence[str],
    phone_regions: Sequence[str],
    mask_ip_addresses: bool = True,
    sender_name: str | None = None,
    reply_delimiter: str | None = None,
) -> CleanText:
    """What the requester wrote, without quotes, signature and personal data.

    `text` is the subject without its "Re:" and "TR:", a line break, and the body; `languages` are
    those the desk receives, the main one first. `sender_name` helps to recognise the signature, and
    `reply_delimiter`, the line above which the desk wants answers, its own text.
    """
    whole_subject = _tidy(readable(subject or "")).replace("\n", " ")
    own_subject = without_prefixes(whole_subject)
    parts = split_reply(
        _body(body_text, body_html),
        forwarded=is_forwarded(whole_subject),
        author=sender_name,
        reply_delimiter=reply_delimiter,
    )
    mask = functools.partial(
        mask_personal_data, phone_regions=phone_regions, mask_ip_addresses=mask_ip_addresses
    )
    whole = f"{own_subject}\n{_tidy(parts.own)}".strip()[: 2 * MAX_CHARACTERS]
    text, counts = mask(whole)
    if len(text) > MAX_CHARACTERS:
        # Between words, and masked again: half a number can look like another.
        tail = (MAX_CHARACTERS - 200, MAX_CHARACTERS)
        between = max(text.rfind(" ", *tail), text.rfind("\n", *tail))
        text = mask(text[: between if between > 0 else MAX_CHARACTERS]).text
    language = detect_language(text, languages)
    return CleanText(
        subject=text.partition("\n")[0] if own_subject else "",
        text=text,
        tokens=tokens(text, language),
        language=language,
        text_hash=hashlib.sha256(text.encode()).hexdigest(),
        masked=counts,
    )


def clean_tickets(
    raw: pd.DataFrame,
    *,
    languages: Sequence[str],
    phone_regions: Sequence[str],
    mask_ip_addresses: bool = True,
    reply_delimiter: str | None = None,
    cores: int | None = None,
) -> CleanTickets:
    """The `clean_tickets` table made from rows of `raw_tickets`, in the same order.

    `duplicate_of` is left out, since it depends on what was received before.
    Automatic replies, bounces, list mail and messages without any text are left out.
    Many messages are cleaned on all cores, or on as many as `cores` says.
    """
    others = raw[raw["kind"].isin(NOT_REQUESTS)]
    reasons = dict(zip(others["ticket_id"], others["kind"], strict=True))
    requests = raw[~raw["kind"].isin(NOT_REQUESTS)]
    messages = requests[["subject", "body_text", "body_html", "sender_name"]]
    cleaned = map_chunks(
        functools.partial(
            _clean_rows,
            languages=tuple(languages),
            phone_regions=tuple(phone_regions),
            mask_ip_addresses=mask_ip_addresses,
            reply_delimiter=reply_delimiter,
        ),
        (tuple(map(_string, message)) for message in messages.itertuples(index=False, name=None)),
        cores=cores,
    )
    rows: list[dict[str, Any]] = []
    named = requests[["ticket_id", "received_at"]].itertuples(index=False, name=None)
    for (ticket_id, received_at), row in zip(named, chain.from_iterable(cleaned), strict=True):
        if row["text"]:
            rows.append({"ticket_id": ticket_id, "received_at": received_at, **row})
        else:
            reasons[ticket_id] = "no text"
    tickets = TABLES["clean_tickets"].frame(rows, without=["duplicate_of"])
    left_out = raw[["ticket_id", "received_at"]].assign(reason=raw["ticket_id"].map(reasons))
    return CleanTickets(tickets, left_out.dropna(subset=["reason"]))


def _clean_rows(
    messages: Sequence[tuple[str | None, ...]],
    *,
    languages: Sequence[str],
    phone_regions: Sequence[str],
    mask_ip_addresses: bool,
    reply_delimiter: str | None,
) -> list[dict[str, Any]]:
    """What the table holds of each message's text, however empty."""
    rows = []
    for subject, body_text, body_html, sender_name in messages:
        clean = clean_text(
            subject,
            body_text,
            body_html,
            languages=languages,
            phone_regions=phone_regions,
            mask_ip_addresses=mask_ip_addresses,
            sender_name=sender_name,
            reply_delimiter=reply_delimiter,
        )
        rows.append(
            {
                "language": clean.language,
                "subject": clean.subject,
                "text": clean.text,
                "tokens": " ".join(clean.tokens),
                "text_hash": clean.text_hash,
                "token_count": len(clean.tokens),
                "character_count": len(clean.text),
                "masked": json.dumps(clean.masked, sort_keys=True),
            }
        )
    return rows


def _body(body_text: str | None, body_html: str | None) -> str:
    """The plain-text part, unless it is empty or only says to look at the HTML part."""
    plain = readable((body_text or "")[:_MAX_BODY])
    if not body_html:
        return plain
    html_notice = _patterns().html_notice
    if len(plain.strip()) > 200 and not html_notice.search(plain[:1000].lower()):
        return plain
    rich = open_enclosures(html_to_text(body_html)).text
    if not rich.strip():
        return plain
    rich_words = len(rich.split())
    poorer = len(plain.split()) * 4 < rich_words and rich_words > 12
    if not plain.strip() or poorer or (len(plain) < 400 and html_notice.search(plain.lower())):
        return rich
    return plain


def _tidy(text: str) -> str:
    """One blank where there were several, at most one empty line between paragraphs."""
    text = _BLANKS.sub(" ", text)
    if " \n" in text or "\n " in text:
        text = _LINE_BREAKS.sub("\n", text)
    return _MANY_LINE_BREAKS.sub("\n\n", text).strip()


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None
