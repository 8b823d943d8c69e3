"""A message's fields and text, from bytes that any mail program may have written."""

from __future__ import annotations

import email
import hashlib
import json
import logging
import mimetypes
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value, getaddresses
from typing import Literal

from mailparser import MailParser

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.flowed import unflow
from ticket_assets.mail.headers import (
    HeaderFields,
    bare_id,
    decode_unlabelled,
    header_fields,
    message_id,
    split_message,
)

# mail-parser writes the headers it cannot decode, people's names among them, into the log.
logging.getLogger("mailparser").setLevel(logging.CRITICAL)

Kind = Literal["request", "auto_reply", "bounce", "list"]

MAX_FORWARDS = 3
"""Depth to which a forward without text of its own is searched for text."""

MAX_HEADER_CHARACTERS = 1 << 18
"""Length to which a header is read: some 6,000 recipients, in less than a second."""
MAX_PARAMETER_CHARACTERS = 1 << 14
"""The same for the headers that describe a part: their parameters take more than linear time."""

# mail-parser decodes every header it meets; the traces of transport are most of a head. The field
# at its end stays, whole: what follows a field dropped by half would continue the one before.
_UNREAD_FIELD = re.compile(
    r"^(?!(?:from|to|cc|subject|mime-version|content-[!-9;-~]+)[ \t]*:)[!-9;-~]{1,100}[ \t]*:"
    r"[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*(?![ \t])",
    re.I | re.M,
)
_BODY_TYPES = ("text/plain", "text/html")
# Python codecs that no mail means; decoding the first takes quadratic time.
_UNFIT_CHARSETS = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape"})
_SURROGATE = re.compile("[\ud800-\udfff]")
# ISO-8859-1 leaves 0x80-0x9F to control characters; mail that declares it means Windows-1252.
_CONTROLS = re.compile("[\x00\x80-\x9f]")
_REPLY_PREFIXES = re.compile(
    r"(?:\s*(?:re|rv|res|aw|antw|wg|sv|tr|fw|fwd)\s*(?:\[\d+\])?\s*:\s*)+", re.I
)
_HTML = re.compile(r"</(?:html|body|div|p|span|table|ul|a|b)\s*>|<br\s*/?>", re.I)
_ENCODED_WORDS = re.compile(r"=\?[^?\s]+\?[bq]\?[^?]*\?=(?:\s+=\?[^?\s]+\?[bq]\?[^?]*\?=)*", re.I)
_MAILER = re.compile(r"mailer-daemon|postmaster")
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
    thread_id: str
    """First message of the thread; a message without ids shares the thread of its subject."""
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


@dataclass(frozen=True)
class _Content:
    """What differs between the parsers; ids and kind are read from the header lines."""

    sender: str
    sender_name: str
    recipients: list[str]
    subject: str
    texts: list[str]
    htmls: list[str]
    attachments: list[str]

    @property
    def has_text(self) -> bool:
        return any(part.strip() for part in (*self.texts, *self.htmls))


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
        lambda found: found[0].encode("latin-1").decode("cp1252", "ignore").strip("\x00"), text
    )


def _parse_mail(content: bytes) -> ParsedMessage:
    head, rest = split_message(content)
    if not head:
        raise UnreadableMessage("the message is empty")
    fields = header_fields(head)
    if not fields:
        raise UnreadableMessage("no header lines: this is not an e-mail")
    # As the standard library reads bytes, but with headers that are text already.
    found = _read_content(_UNREAD_FIELD.sub("", head) + rest.decode("ascii", "surrogateescape"))
    subject = clean_text(found.subject).strip()
    own_id = message_id(fields)
    replied = _ids(fields, "in-reply-to")
    thread = next(iter([*_ids(fields, "references"), *replied]), own_id)
    return ParsedMessage(
        message_id=clean_text(own_id) if own_id else None,
        in_reply_to=replied[0] if replied else None,
        thread_id=clean_text(thread) if thread else _thread_of(subject, content),
        sender=_address(found.sender),
        sender_name=clean_text(found.sender_name).strip() or None,
        recipients=_addresses(found.recipients),
        subject=subject or None,
        body_text=_joined(found.texts),
        body_html=_joined(found.htmls),
        attachments=[clean_text(name).strip() for name in found.attachments],
        kind=_kind(fields),
    )


def _read_content(content: str) -> _Content:
    # mail-parser repairs more than the standard library; the latter reads the few mails on which
    # the former raises or from which it gets nothing.
    readers: tuple[Callable[[str], _Content], ...] = (
        lambda mail: _read_with_mailparser(email.message_from_string(mail)),
        _read_with_stdlib,
    )
    reason = "no subject, sender or text"
    for read in readers:
        try:
            found = read(content)
        except RecursionError:
            raise UnreadableMessage("its parts are nested too deeply") from None
        except Exception as error:  # a parser's bug must cost one message, not the day
            reason = f"the mail parsers fail on it ({type(error).__name__})"
        else:
            if found.subject or found.sender or found.sender_name or found.has_text:
                return found
    raise UnreadableMessage(reason)


def _read_with_mailparser(message: Message, depth: int = 0) -> _Content:
    forwarded = _simplify_parts(message)
    mail = MailParser(message)
    name, address = next(iter(mail.from_), ("", ""))
    found = _Content(
        sender=address,
        sender_name=name if address else _header_text(message, "from"),
        recipients=[recipient for _, recipient in (*mail.to, *mail.cc)],
        subject=_header_text(message, "subject"),
        texts=mail.text_plain,
        htmls=mail.text_html,
        attachments=[part["filename"].strip("<>") for part in mail.attachments],
    )
    if forwarded and not found.has_text and depth < MAX_FORWARDS:
        inner = _read_with_mailparser(forwarded[0], depth + 1)
        return replace(found, texts=inner.texts, htmls=inner.htmls)
    return found


def _simplify_parts(message: Message) -> list[Message]:
    """Prepare a message for mail-parser, in place; the forwarded messages are returned.

    mail-parser adds the text of forwarded messages to that of their carrier, encodes the bytes of
    attachments that nothing reads here, draws random names for those without one, and decodes text
    in a wrong charset with replacement characters. So forwards and attachments are emptied and
    named, a charset that does not fit is replaced by one that does, and soft line breaks, which it
    keeps, are undone.
    """
    forwarded: list[Message] = []
    parts = [message]
    while parts:
        part = parts.pop()
        _cut_headers(part)
        content_type = part.get_content_type()
        disposition = part.get_content_disposition()
        if content_type == "message/rfc822" and part.is_multipart():
            forwarded += _children(part)[:1]
            _make_attachment(part, f"{_header_text(forwarded[-1], 'subject') or 'message'}.eml")
        elif part.is_multipart():
            parts.extend(reversed(_children(part)))
        elif part.get_content_maintype() == "multipart":  # without its boundary it is one text
            part.set_type("text/plain")
            _fit_charset(part)
        elif content_type in _BODY_TYPES and (
            disposition == "inline" or (disposition is None and not _filename(part))
        ):
            _fit_charset(part)
            _unflow(part)
        else:
            extension = mimetypes.guess_extension(content_type) or ""
            named = _filename(part) or ("Content-ID" in part and content_type not in _BODY_TYPES)
            _make_attachment(part, None if named else f"attachment{extension}")
    return forwarded


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [each for each in payload if isinstance(each, Message)] if payload else []


def _cut_headers(part: Message) -> None:
    for name, value in list(part.raw_items()):
        is_description = name.lower().startswith("content-")
        limit = MAX_PARAMETER_CHARACTERS if is_description else MAX_HEADER_CHARACTERS
        if len(value) > limit:
            del part[name]
            part[name] = value[:limit]


def _make_attachment(part: Message, name: str | None) -> None:
    part.set_payload("")
    if name:
        del part["Content-Disposition"]
        filename = " ".join(clean_text(name).split())
        part.add_header("Content-Disposition", "attachment", filename=("utf-8", "", filename))


def _filename(part: Message) -> str:
    """An attachment's name as sent, or nothing; a charset that cannot decode it costs the name."""
    try:
        return (part.get_filename() or "").strip()
    except ValueError:
        return ""


def _fit_charset(part: Message) -> None:
    payload = part.get_payload(decode=True)
    charset = str(part.get_content_charset("utf-8"))
    if isinstance(payload, bytes) and not _decodes(payload, charset):
        # ISO-8859-1 decodes everything; clean_text turns it into Windows-1252.
        part.set_param("charset", "utf-8" if _decodes(payload, "utf-8") else "iso-8859-1")


def _unflow(part: Message) -> None:
    payload = part.get_payload(decode=True)
    if not _is_flowed(part) or not isinstance(payload, bytes):
        return
    text = unflow(
        _decoded(payload, str(part.get_content_charset("utf-8"))),
        delete_space=_deletes_space(part),
    )
    del part["Content-Transfer-Encoding"]
    part["Content-Transfer-Encoding"] = "8bit"
    part.set_param("charset", "utf-8")
    part.set_payload(text.encode("utf-8", "replace").decode("ascii", "surrogateescape"))


def _is_flowed(part: Message) -> bool:
    return (
        part.get_content_type() == "text/plain" and _parameter(part, "format").lower() == "flowed"
    )


def _deletes_space(part: Message) -> bool:
    return _parameter(part, "delsp").lower() == "yes"


def _parameter(part: Message, name: str) -> str:
    return collapse_rfc2231_value(part.get_param(name, "")).strip()


def _decodes(payload: bytes, charset: str) -> bool:
    if charset.replace("_", "-") in _UNFIT_CHARSETS:
        return False
    try:
        payload.decode(charset)
    except (LookupError, ValueError):  # a NUL in the name is a ValueError
        return False
    return True


def _decoded(payload: bytes, charset: str) -> str:
    return payload.decode(charset) if _decodes(payload, charset) else decode_unlabelled(payload)


def _read_with_stdlib(content: str) -> _Content:
    # All as bytes: where a line that is no header ends the headers early, text that is already
    # decoded would stand in the body, which cannot be. The older policy: the default one takes
    # quadratic time to parse long headers.
    octets = content.encode("utf-8", "surrogateescape")
    message = email.message_from_string(octets.decode("ascii", "surrogateescape"))
    texts: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    attachments = []
    for part in message.walk():
        if part.is_multipart():
            continue
        content_type = part.get_content_type()
        if content_type in texts and part.get_content_disposition() != "attachment":
            payload = part.get_payload(decode=True)
            charset = str(part.get_content_charset("utf-8"))
            if isinstance(payload, bytes):
                text = _decoded(payload, charset)
                if _is_flowed(part):
                    text = unflow(text, delete_space=_deletes_space(part))
                texts[content_type].append(text)
        else:
            attachments.append(_decode_header(_filename(part) or "attachment"))
    senders = _mailboxes(_header_text(message, "from"))
    name, address = senders[0] if senders else ("", "")
    recipients = _mailboxes(_header_text(message, "to"), _header_text(message, "cc"))
    return _Content(
        sender=address,
        sender_name=name,
        recipients=[recipient for _, recipient in recipients],
        subject=_header_text(message, "subject"),
        texts=texts["text/plain"],
        htmls=texts["text/html"],
        attachments=attachments,
    )


def _mailboxes(*values: str) -> list[tuple[str, str]]:
    """Names and addresses in header values; none where comments are nested beyond reason."""
    try:
        return getaddresses(values)
    except RecursionError:
        return []


def _header_text(message: Message, name: str) -> str:
    """The first value of a header, decoded; what cannot be decoded is kept as sent."""
    raw = next((str(raw) for each, raw in message.raw_items() if each.lower() == name), "")
    return _decode_header(raw[:MAX_HEADER_CHARACTERS])


def _decode_header(raw: str) -> str:
    text = decode_unlabelled(raw.encode("utf-8", "surrogateescape"))
    return _ENCODED_WORDS.sub(lambda run: _decode_words(run[0]), " ".join(text.split()))


def _decode_words(run: str) -> str:
    # One run at a time: decode_header garbles raw 8-bit text that stands beside encoded words.
    try:
        chunks = decode_header(run)
    except (HeaderParseError, ValueError):  # broken base64
        return run
    return "".join(
        chunk if isinstance(chunk, str) else _decoded(chunk, charset or "utf-8")
        for chunk, charset in chunks
    )


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
    subject, body = text.get("subject", "").strip(), text.get("body", "").strip()
    if not subject and not body:
        raise UnreadableMessage("the row has neither a subject nor a body")
    sender = text.get("sender", "").strip()
    name, address = next(iter(_mailboxes(sender)), ("", ""))
    if "@" not in address:
        name, address = sender, ""
    own_id, replied = bare_id(text.get("message_id")), bare_id(text.get("in_reply_to"))
    is_html = _HTML.search(body) is not None
    return ParsedMessage(
        message_id=own_id,
        in_reply_to=replied,
        thread_id=replied or own_id or _thread_of(subject, content),
        sender=_address(address),
        sender_name=name or None,
        recipients=_addresses(
            [recipient for _, recipient in _mailboxes(text.get("recipients", ""))]
        ),
        subject=subject or None,
        body_text=None if is_html else body or None,
        body_html=body if is_html else None,
        attachments=[],
        kind="request",
    )


def _kind(fields: HeaderFields) -> Kind:
    def first(name: str) -> str:
        return next(iter(fields.get(name, [])), "").lower()

    sender = first("from")
    precedence = first("precedence")
    submitted = first("auto-submitted")
    if (
        first("content-type").startswith("multipart/report")
        or "x-failed-recipients" in fields
        or (first("return-path") == "<>" and _MAILER.search(sender))
    ):
        return "bounce"
    if (
        (submitted and not submitted.startswith("no"))
        or precedence == "auto_reply"
        or not fields.keys().isdisjoint({"x-autoreply", "x-autorespond"})
    ):
        return "auto_reply"
    if precedence == "list" or not fields.keys().isdisjoint({"list-id", "list-unsubscribe"}):
        return "list"
    return "auto_reply" if precedence == "bulk" else "request"


def _ids(fields: HeaderFields, name: str) -> list[str]:
    value = next(iter(fields.get(name, [])), "")
    found = _MESSAGE_ID.findall(value) or value.split()
    return [clean_text(each) for each in map(bare_id, found) if each]


def _thread_of(subject: str, content: bytes) -> str:
    replied = _REPLY_PREFIXES.match(subject)
    plain = " ".join(subject[replied.end() if replied else 0 :].casefold().split())
    return hashlib.sha256(plain.encode() if plain else content).hexdigest()[:20]


def _address(address: str) -> str | None:
    return "".join(clean_text(address).split()).lower() or None


def _addresses(addresses: list[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, map(_address, addresses))))


def _joined(parts: list[str]) -> str | None:
    texts = (clean_text(part).replace("\r\n", "\n") for part in parts)
    return "\n".join(text for text in texts if text.strip()) or None
