"""A message's fields and text, from bytes that any mail program may have written."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.addresses import Mailbox, mailboxes_in, sender_in
from ticket_assets.mail.headers import (
    HeaderFields,
    bare_id,
    header_fields,
    header_text,
    message_id,
    split_message,
)
from ticket_assets.mail.parts import Bodies, read_parts
from ticket_assets.text.enclosures import open_enclosures
from ticket_assets.text.html import has_tags, without_entities
from ticket_assets.text.languages import all_words, phrases

Kind = Literal["request", "auto_reply", "bounce", "list"]

MAX_PARTS = 100_000
"""Lines that may each begin a part, in 40 MB of memory; a digest has hundreds."""
MAX_BODY_CHARACTERS = 3_000_000
"""Nothing reads more of a text; a day's texts are held in memory together."""

# The parser of parts is given the fields that describe them alone, and what is no field: the text
# of a mail without an empty line above it.
_FIELD = r"[!-9;-~]{1,100}+[ \t]*+:[^\r\n]*+\r?\n(?:[ \t][^\r\n]*+\r?\n)*+(?![ \t])"
_FIELDS = re.compile(rf"(?:{_FIELD})*+")
_UNREAD_FIELD = re.compile(rf"^(?!content-){_FIELD}", re.IGNORECASE | re.MULTILINE)
# A gateway that drops the blanks before a continued line makes it one that ends the headers.
_UNFOLDED = re.compile(
    r";[ \t]*\r?\n(?=[\w-]{1,40}=(?:\"[^\"\r\n]*\"|[^\s\";]+)[ \t]*;?[ \t]*(?:\r?\n|$))"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
# ISO-8859-1 leaves 0x80-0x9F to control characters; mail that declares it means Windows-1252.
_CONTROLS = re.compile("[\x00\x80-\x9f]+")
_DAEMON = re.compile("mailer[-_ ]?daemon")
_MAILER = re.compile(
    rf"{_DAEMON.pattern}|postmaster|mail delivery (?:sub)?system|microsoftexchange[0-9a-f]{{32}}"
)
# The mark of an answer where gateways have dropped Auto-Submitted. People who ask how to set one
# up write the same subjects.
_ANSWER_FIELDS = frozenset({"in-reply-to", "references", "x-auto-response-suppress"})
_MESSAGE_ID = re.compile(r"<([^<>\s]+)>")


class UnreadableMessage(TicketAssetsError):  # noqa: N818  a verdict on a message, not a fault
    """A landed message from which no ticket can be made; `reason` says why, for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ParsedMessage:
    """A message as a ticket needs it. Every string is valid Unicode without NUL characters."""

    message_id: str | None
    in_reply_to: str | None
    thread_id: str | None
    """First message of the thread by its ids; None without any."""
    sender: str | None
    """Address in lower case, or None when the header holds a name alone."""
    sender_name: str | None
    recipients: list[str]
    """Addresses of To and Cc in lower case, each once."""
    subject: str | None
    body_text: str | None
    body_html: str | None
    attachments: list[str]
    """File names; a forwarded message is named after its subject."""
    kind: Kind


def parse_message(content: bytes, extension: str) -> ParsedMessage:
    """The fields of a landed message: `eml` is a mail, `json` one row of an export.

    Message ids are without angle brackets. The requester's text wins over that of forwarded
    messages, which is taken only when there is no other.

    Raises:
        UnreadableMessage: no ticket can be made of it.
    """
    return _parse_row(content) if extension == "json" else _parse_mail(content)


def clean_text(text: str) -> str:
    """The text as valid Unicode without NUL: surrogate pairs joined, lone ones replaced, and the
    Windows-1252 characters behind C1 controls restored."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROLS.sub(
        lambda run: run[0].replace("\x00", "").encode("latin-1").decode("cp1252", "ignore"), text
    )


def _parse_mail(content: bytes) -> ParsedMessage:
    head, rest = split_message(content)
    if not head:
        raise UnreadableMessage("the message is empty")
    fields = header_fields(head)
    if not fields:
        raise UnreadableMessage("no header lines: this is not an e-mail")
    content_type = next(iter(fields.get("content-type", [])), "").lower()
    if content_type.startswith(("multipart/", "message/")) and rest.count(b"\n--") > MAX_PARTS:
        raise UnreadableMessage(f"it has more than {MAX_PARTS:,} parts")
    subject = clean_text(header_text(_first(fields, "subject"))).strip()
    sender = sender_in(_first(fields, "from"))
    bodies = _read_bodies(head, rest)
    if not (subject or sender.address or sender.name or bodies.has_text):
        raise UnreadableMessage("no subject, sender or text")
    own_id = message_id(fields)
    replied = _ids(fields, "in-reply-to")
    thread = next(iter([*_ids(fields, "references"), *replied]), own_id)
    return ParsedMessage(
        message_id=clean_text(own_id) if own_id else None,
        in_reply_to=replied[0] if replied else None,
        thread_id=clean_text(thread) if thread else None,
        sender=_address(sender.address),
        sender_name=clean_text(sender.name).strip() or None,
        recipients=_addresses(*(_first(fields, name) for name in ("to", "cc"))),
        subject=subject or None,
        body_text=_joined(bodies.texts),
        body_html=_joined(bodies.htmls),
        attachments=[clean_text(name).strip() for name in bodies.attachments],
        kind=_kind(fields, subject, sender),
    )


def _read_bodies(head: str, rest: bytes) -> Bodies:
    head = _UNFOLDED.sub(";\n\t", head)
    fields = _FIELDS.match(head)
    end = fields.end() if fields else 0
    described = _UNREAD_FIELD.sub("", head[:end]) + head[end:]
    octets = described.encode("utf-8", "surrogateescape") + rest
    try:
        return read_parts(octets.decode("ascii", "surrogateescape"))
    except RecursionError:
        raise UnreadableMessage("its parts are nested too deeply") from None
    except Exception as error:  # a parser's bug must cost one message, not the day
        reason = f"the mail parser fails on it ({type(error).__name__})"
        raise UnreadableMessage(reason) from error


def _first(fields: HeaderFields, name: str) -> str:
    return next(iter(fields.get(name, [])), "")


def _parse_row(content: bytes) -> ParsedMessage:
    try:
        row = json.loads(content)
    except (ValueError, RecursionError):
        raise UnreadableMessage("the row is not JSON") from None
    if not isinstance(row, dict):
        raise UnreadableMessage("the row is not a JSON object")
    if row.get("broken"):
        raise UnreadableMessage(clean_text(str(row["broken"])))
    text = {name: clean_text(str(value)) for name, value in row.items() if value is not None}
    subject, body = without_entities(text.get("subject", "").strip()), text.get("body", "").strip()
    if not subject and not body:
        raise UnreadableMessage("the row has neither a subject nor a body")
    sender = _row_sender(text)
    own_id, replied = bare_id(text.get("message_id")), bare_id(text.get("in_reply_to"))
    is_html = has_tags(body)
    return ParsedMessage(
        message_id=own_id,
        in_reply_to=replied,
        thread_id=replied or own_id,
        sender=_address(sender.address),
        sender_name=sender.name or None,
        recipients=_addresses(text.get("recipients", "")),
        subject=subject or None,
        body_text=None
        if is_html
        else open_enclosures(without_entities(body)).text[:MAX_BODY_CHARACTERS] or None,
        body_html=body[:MAX_BODY_CHARACTERS] if is_html else None,
        attachments=[],
        kind=_kind({}, subject, sender),
    )


def _row_sender(text: Mapping[str, str]) -> Mailbox:
    """The sender of a row, whose columns may hold a name, an address or both."""
    people = [sender_in(text.get(field, "")) for field in ("sender_name", "sender")]
    return Mailbox(
        next(filter(None, (person.name for person in people)), ""),
        next(filter(None, (person.address for person in people)), ""),
    )


def _kind(fields: HeaderFields, subject: str, sender: Mailbox) -> Kind:
    precedence = _first(fields, "precedence").lower()
    submitted = _first(fields, "auto-submitted").lower()
    if (
        _first(fields, "content-type").lower().startswith("multipart/report")
        or "x-failed-recipients" in fields
        or _is_from_mailer(sender, subject, _first(fields, "return-path"))
    ):
        return "bounce"
    if (
        (submitted and not submitted.startswith("no"))
        or precedence == "auto_reply"
        or not fields.keys().isdisjoint({"x-autoreply", "x-autorespond"})
        or (_automatic_subject().match(subject) and not fields.keys().isdisjoint(_ANSWER_FIELDS))
    ):
        return "auto_reply"
    if precedence == "list" or not fields.keys().isdisjoint({"list-id", "list-unsubscribe"}):
        return "list"
    return "auto_reply" if precedence == "bulk" else "request"


def _is_from_mailer(sender: Mailbox, subject: str, return_path: str) -> bool:
    local = sender.address.lower().partition("@")[0]
    if _DAEMON.fullmatch(local or sender.name.lower()):
        return True
    # People too write as postmaster.
    is_mailer = _MAILER.search(f"{sender.name} {local}".lower())
    return bool(is_mailer) and (return_path == "<>" or bool(_report_subject().match(subject)))


@functools.cache
def _report_subject() -> re.Pattern[str]:
    """The words with which mail servers report that a mail was not delivered."""
    return phrases(all_words().delivery_report_subjects, after=r"\s*(?:[:(–-]|$)")


@functools.cache
def _automatic_subject() -> re.Pattern[str]:
    """The words that mail servers put before a subject in an automatic answer."""
    return phrases(all_words().automatic_reply_subjects, after=r"\s*:\s*\S")


def _ids(fields: HeaderFields, name: str) -> list[str]:
    value = next(iter(fields.get(name, [])), "")
    written = _MESSAGE_ID.findall(value) or value.split()
    return [clean_text(bare) for bare in map(bare_id, written) if bare]


def _address(address: str) -> str | None:
    return "".join(clean_text(address).split()).lower() or None


def _addresses(*headers: str) -> list[str]:
    people = [person for header in headers for person in mailboxes_in(header)]
    return list(dict.fromkeys(filter(None, (_address(person.address) for person in people))))


def _joined(parts: list[str]) -> str | None:
    texts = (clean_text(part).replace("\r\n", "\n") for part in parts)
    return "\n".join(text for text in texts if text.strip())[:MAX_BODY_CHARACTERS] or None
