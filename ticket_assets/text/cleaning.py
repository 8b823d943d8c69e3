"""From raw messages to the text and tokens that models see."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from ticket_assets.parallel import map_chunks
from ticket_assets.storage.tables import TABLES
from ticket_assets.text.characters import readable
from ticket_assets.text.enclosures import open_enclosures
from ticket_assets.text.html import html_to_text
from ticket_assets.text.language import detect_language
from ticket_assets.text.languages import all_words, small_phrases
from ticket_assets.text.privacy import mask_personal_data, with_placeholders
from ticket_assets.text.quoting import split_reply
from ticket_assets.text.secret_passages import Passage, secret_passages
from ticket_assets.text.subjects import is_forwarded, without_prefixes
from ticket_assets.text.tokens import tokens

if TYPE_CHECKING:
    import pandas as pd

    from ticket_assets.text.privacy import Masked
    from ticket_assets.text.secrets_in_context import SecretsInContext
    from ticket_assets.text.stated_secrets import Span

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
    secrets: SecretsInContext | None = None,
) -> CleanText:
    """What the requester wrote, without quotes, signature and personal data.

    `text` is the subject without its "Re:" and "TR:", a line break, and the body; `languages` are
    those the desk receives, the main one first. `sender_name` helps to recognise the signature, and
    `reply_delimiter`, the line above which the desk wants answers, its own text. `secrets` finds
    passwords that no rule knows.
    """
    mask = _masking(phone_regions, mask_ip_addresses, secrets is not None)
    chunk = _clean_messages(
        [(subject, body_text, body_html, sender_name)],
        mask=mask,
        languages=languages,
        reply_delimiter=reply_delimiter,
        with_passages=secrets is not None,
    )
    (clean,) = _read_in_context(chunk, secrets, mask, languages)
    return clean


_Mask = Callable[[str], "Masked"]


def _masking(phone_regions: Sequence[str], mask_ip_addresses: bool, in_context: bool) -> _Mask:
    """What the rules mask; `in_context`: a `SecretsInContext` follows them."""
    return functools.partial(
        mask_personal_data,
        phone_regions=phone_regions,
        mask_ip_addresses=mask_ip_addresses,
        by_words=not in_context,
    )


def _clean_by_rules(
    subject: str | None,
    body_text: str | None,
    body_html: str | None,
    *,
    mask: _Mask,
    languages: Sequence[str],
    sender_name: str | None,
    reply_delimiter: str | None,
) -> CleanText:
    whole_subject = _tidy(readable(subject or "")).replace("\n", " ")
    own_subject = without_prefixes(whole_subject)
    parts = split_reply(
        _body(body_text, body_html),
        forwarded=is_forwarded(whole_subject),
        author=sender_name,
        reply_delimiter=reply_delimiter,
    )
    whole = f"{own_subject}\n{_tidy(parts.own)}".strip()[: 2 * MAX_CHARACTERS]
    text, counts = mask(whole)
    if len(text) > MAX_CHARACTERS:
        # Between words, and masked again: half a number can look like another.
        tail = (MAX_CHARACTERS - 200, MAX_CHARACTERS)
        between = max(text.rfind(" ", *tail), text.rfind("\n", *tail))
        text = mask(text[: between if between > 0 else MAX_CHARACTERS]).text
    return _described(text, bool(own_subject), counts, languages)


def _described(
    text: str, has_subject: bool, masked: dict[str, int], languages: Sequence[str]
) -> CleanText:
    language = detect_language(text, languages)
    return CleanText(
        subject=text.partition("\n")[0] if has_subject else "",
        text=text,
        tokens=tokens(text, language),
        language=language,
        text_hash=hashlib.sha256(text.encode()).hexdigest(),
        masked=masked,
    )


def _read_in_context(
    chunk: Sequence[tuple[CleanText, list[Passage]]],
    secrets: SecretsInContext | None,
    mask: _Mask,
    languages: Sequence[str],
) -> Iterator[CleanText]:
    """The texts of a chunk, with the secrets masked that only `secrets` finds."""
    if secrets is None:
        return (clean for clean, _ in chunk)
    spans = secrets.spans([clean.text for clean, _ in chunk], [passages for _, passages in chunk])
    return (
        _without_secrets(clean, of_text, mask, languages) if of_text else clean
        for (clean, _), of_text in zip(chunk, spans, strict=True)
    )


def _without_secrets(
    clean: CleanText, spans: Sequence[Span], mask: _Mask, languages: Sequence[str]
) -> CleanText:
    masked = Counter(clean.masked)
    # Once more by the rules: a placeholder can uncover what the secret touched.
    text, counts = mask(with_placeholders(clean.text, "PASSWORD", spans, masked))
    return _described(text, bool(clean.subject), dict(masked + Counter(counts)), languages)


def clean_tickets(
    raw: pd.DataFrame,
    *,
    languages: Sequence[str],
    phone_regions: Sequence[str],
    mask_ip_addresses: bool = True,
    reply_delimiter: str | None = None,
    secrets: SecretsInContext | None = None,
    cores: int | None = None,
) -> CleanTickets:
    """The `clean_tickets` table made from rows of `raw_tickets`, in the same order.

    `duplicate_of` is left out, since it depends on what was received before.
    Automatic replies, bounces, list mail and messages without any text are left out. `secrets`
    finds passwords that no rule knows.
    Many messages are cleaned on all cores, or on as many as `cores` says.
    """
    mask = _masking(tuple(phone_regions), mask_ip_addresses, secrets is not None)
    others = raw[raw["kind"].isin(NOT_REQUESTS)]
    reasons = dict(zip(others["ticket_id"], others["kind"], strict=True))
    requests = raw[~raw["kind"].isin(NOT_REQUESTS)]
    messages = requests[["subject", "body_text", "body_html", "sender_name"]]
    cleaned = map_chunks(
        functools.partial(
            _clean_messages,
            mask=mask,
            languages=tuple(languages),
            reply_delimiter=reply_delimiter,
            with_passages=secrets is not None,
        ),
        (tuple(map(_string, message)) for message in messages.itertuples(index=False, name=None)),
        cores=cores,
    )
    rows: list[dict[str, Any]] = []
    named = requests[["ticket_id", "received_at"]].itertuples(index=False, name=None)
    texts = chain.from_iterable(
        _read_in_context(chunk, secrets, mask, languages) for chunk in cleaned
    )
    for (ticket_id, received_at), clean in zip(named, texts, strict=True):
        if clean.text:
            rows.append({"ticket_id": ticket_id, "received_at": received_at, **_row(clean)})
        else:
            reasons[ticket_id] = "no text"
    tickets = TABLES["clean_tickets"].frame(rows, without=["duplicate_of"])
    left_out = raw[["ticket_id", "received_at"]].assign(reason=raw["ticket_id"].map(reasons))
    return CleanTickets(tickets, left_out.dropna(subset=["reason"]))


def _clean_messages(
    messages: Sequence[tuple[str | None, ...]],
    *,
    mask: _Mask,
    languages: Sequence[str],
    reply_delimiter: str | None,
    with_passages: bool,
) -> list[tuple[CleanText, list[Passage]]]:
    """Each message's text, however empty, with the passages that may state a secret."""
    cleaned = []
    for subject, body_text, body_html, sender_name in messages:
        clean = _clean_by_rules(
            subject,
            body_text,
            body_html,
            mask=mask,
            languages=languages,
            sender_name=sender_name,
            reply_delimiter=reply_delimiter,
        )
        cleaned.append((clean, secret_passages(clean.text) if with_passages else []))
    return cleaned


def _row(clean: CleanText) -> dict[str, Any]:
    """What the table holds of a text."""
    return {
        "language": clean.language,
        "subject": clean.subject,
        "text": clean.text,
        "tokens": " ".join(clean.tokens),
        "text_hash": clean.text_hash,
        "token_count": len(clean.tokens),
        "character_count": len(clean.text),
        "masked": json.dumps(clean.masked, sort_keys=True),
    }


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
