"""A message's fields and text, from bytes that any mail program may have written."""

from __future__ import annotations

import email
import functools
import json
import logging
import mimetypes
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value, getaddresses
from typing import Literal, NamedTuple

from mailparser import MailParser
from mailparser.utils import decode_header_part, get_addresses

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
from ticket_assets.text.html import has_tags, without_entities
from ticket_assets.text.languages import all_words, phrases

# mail-parser writes the headers it cannot decode, people's names among them, into the log.
logging.getLogger("mailparser").setLevel(logging.CRITICAL)

Kind = Literal["request", "auto_reply", "bounce", "list"]

MAX_DEPTH = 20
"""Multiparts within multiparts that are still taken for a message by the book."""
MAX_FORWARDS = 3
"""Depth to which a forward without text of its own is searched for text."""

MAX_HEADER_CHARACTERS = 1 << 18
"""Length to which a header is read: some 6,000 recipients, in less than a second."""
MAX_PARAMETER_CHARACTERS = 1 << 14
"""The same for the headers that describe a part: their parameters take more than linear time."""
MAX_PARTS = 100_000
"""Lines that may each begin a part, in 40 MB of memory; a digest has hundreds."""
MAX_BODY_CHARACTERS = 3_000_000
"""Nothing reads more of a text; a day's texts are held in memory together."""
MAX_REMEMBERED_CHARACTERS = 500
"""Longer lists of people do not come again."""

# mail-parser decodes every header it meets; the traces of transport are most of a head. The field
# at its end stays whole: the rest of a half-dropped field would continue the field before it.
_UNREAD_FIELD = re.compile(
    r"^(?!(?:from|to|cc|subject|mime-version|content-[!-9;-~]+)[ \t]*:)[!-9;-~]{1,100}[ \t]*:"
    r"[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*(?![ \t])",
    re.I | re.M,
)
_BODY_TYPES = ("text/plain", "text/html")
_CONTAINERS = ("multipart/alternative", "multipart/mixed", "multipart/related", "multipart/report")
# How most of them are described: a quoted boundary that needs no unquoting, and nothing else.
_CONTAINER = re.compile(
    rf"({'|'.join(_CONTAINERS)})\s*;\s*boundary=\"([\w'()+,./:=?-]+)\"\s*", re.I | re.A
)
# Their decoders agree on ASCII, which mail-parser does not decode.
_USUAL_CHARSETS = frozenset(
    {"utf-8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "cp1252"}
)
_HEADER_BLOCK = re.compile(r"(?:[!-9;-~]{1,100}+:[^\r\n]*+\r?\n(?:[ \t][^\r\n]*+\r?\n)*+)*+")
_HEADER = re.compile(r"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)(?<!\r)", re.M)
_PART_HEAD = re.compile(rf"({_HEADER_BLOCK.pattern})\r?\n")
_BOUNDARY_END = re.compile(r"[ \t]*\r?\n")
_LAST_BOUNDARY_END = re.compile(r"--[ \t]*(?:\r?\n|$)")
_PART_HEADERS = frozenset(
    {"content-type", "content-disposition", "content-id", "content-transfer-encoding"}
)
# Python codecs that no mail means; decoding the first takes quadratic time.
_UNFIT_CHARSETS = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape"})
_SURROGATE = re.compile("[\ud800-\udfff]")
# ISO-8859-1 leaves 0x80-0x9F to control characters; mail that declares it means Windows-1252.
_CONTROLS = re.compile("[\x00\x80-\x9f]+")
_ENCODED_WORDS = re.compile(r"=\?[^?\s]+\?[bq]\?[^?]*\?=(?:\s+=\?[^?\s]+\?[bq]\?[^?]*\?=)*", re.I)
_MAILER = re.compile(r"mailer-daemon|postmaster")
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


@dataclass(frozen=True)
class _Bodies:
    texts: list[str]
    htmls: list[str]
    attachments: list[str]

    @property
    def has_text(self) -> bool:
        return any(part.strip() for part in (*self.texts, *self.htmls))


@dataclass(frozen=True)
class _Content:
    """The fields that a parser reads; ids and kind come from the header lines."""

    sender: str
    sender_name: str
    recipients: list[str]
    subject: str
    bodies: _Bodies

    @property
    def is_empty(self) -> bool:
        return not (self.subject or self.sender or self.sender_name or self.bodies.has_text)


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
    mail = _read_content(head, rest)
    subject = clean_text(mail.subject).strip()
    own_id = message_id(fields)
    replied = _ids(fields, "in-reply-to")
    thread = next(iter([*_ids(fields, "references"), *replied]), own_id)
    return ParsedMessage(
        message_id=clean_text(own_id) if own_id else None,
        in_reply_to=replied[0] if replied else None,
        thread_id=clean_text(thread) if thread else None,
        sender=_address(mail.sender),
        sender_name=clean_text(mail.sender_name).strip() or None,
        recipients=_addresses(mail.recipients),
        subject=subject or None,
        body_text=_joined(mail.bodies.texts),
        body_html=_joined(mail.bodies.htmls),
        attachments=[clean_text(name).strip() for name in mail.bodies.attachments],
        kind=_kind(fields, subject),
    )


def _read_content(head: str, rest: bytes) -> _Content:
    # As the standard library reads bytes, but with headers that are text already.
    body = rest.decode("ascii", "surrogateescape")
    # mail-parser repairs more than the standard library, which reads the few mails that mail-parser
    # fails on or gets nothing from.
    readers: tuple[Callable[[str, str], _Content | None], ...] = (
        _read_regular,
        _read_with_mailparser,
        _read_with_stdlib,
    )
    reason = ""
    for read in readers:
        try:
            content = read(head, body)
        except RecursionError:
            raise UnreadableMessage("its parts are nested too deeply") from None
        except Exception as error:  # a parser's bug must cost one message, not the day
            reason = f"the mail parsers fail on it ({type(error).__name__})"
        else:
            if content and not content.is_empty:
                return content
            reason = "no subject, sender or text"
    raise UnreadableMessage(reason)


class _Irregular(Exception):  # noqa: N818  a verdict on a message, not a fault
    """A message that is not written by the book; mail-parser repairs it."""


class _Description(NamedTuple):
    """A part's `Content-Type` and `Content-Disposition`, parsed."""

    content_type: str
    boundary: str
    charset: str
    is_flowed: bool
    deletes_space: bool
    disposition: str | None
    filename: str


def _read_regular(head: str, body: str) -> _Content | None:
    """The fields of a message by the book, as most are, in a third of mail-parser's time.

    None for other messages: header lines or boundaries out of place, forwards, rare charsets.
    """
    if body.count("\r") != body.count("\r\n"):  # the standard library ends lines there too
        return None
    bodies = _Bodies([], [], [])
    try:
        headers = _regular_headers(f"{head}\n")
        _, _, text = body.removeprefix("\n").partition("\n")
        _add_part(headers, text, bodies)
    except _Irregular:
        return None
    return _content(headers, bodies)


def _regular_headers(block: str) -> dict[str, str]:
    """The first value of each header as sent, by lower-case name."""
    if not _HEADER_BLOCK.fullmatch(block):
        raise _Irregular
    headers: dict[str, str] = {}
    for name, value in _HEADER.findall(block):
        headers.setdefault(name.lower(), value)
    return headers


def _add_part(headers: dict[str, str], body: str, bodies: _Bodies, depth: int = 0) -> None:
    """Add a part's text or file name, or those of the parts in it."""
    described = headers.get("content-type", ""), headers.get("content-disposition")
    if not all(len(value or "") < MAX_PARAMETER_CHARACTERS for value in described):
        raise _Irregular
    part = _container(*described) or _description(*described)
    if part.content_type in _CONTAINERS:
        if part.disposition is not None or depth > MAX_DEPTH:
            raise _Irregular
        for inner in _inner_parts(body, part.boundary):
            start = _PART_HEAD.match(inner)
            if not start:
                raise _Irregular
            _add_part(_regular_headers(start[1]), inner[start.end() :], bodies, depth + 1)
    elif part.content_type.startswith(("multipart/", "message/")):
        raise _Irregular
    else:
        _add_leaf(part, headers, body, bodies)


def _add_leaf(part: _Description, headers: dict[str, str], body: str, bodies: _Bodies) -> None:
    is_body = part.content_type in _BODY_TYPES and (
        part.disposition == "inline" or (part.disposition is None and not part.filename)
    )
    if is_body and (text := _regular_text(part, headers, body)):
        (bodies.htmls if part.content_type == "text/html" else bodies.texts).append(text)
    if part.filename:
        bodies.attachments.append(part.filename)
    elif not is_body:
        if "content-id" in headers:
            raise _Irregular
        extension = mimetypes.guess_extension(part.content_type) or ""
        bodies.attachments.append(f"attachment{extension}")


def _inner_parts(body: str, boundary: str) -> list[str]:
    """The parts between the boundary lines, of which the last one has to be there."""
    parts = []
    for piece in f"\n{body}".split(f"\n--{boundary}")[1:]:
        if _LAST_BOUNDARY_END.match(piece):
            break
        end = _BOUNDARY_END.match(piece)
        if not end:
            raise _Irregular
        parts.append(piece[end.end() :].removesuffix("\r"))
    else:
        raise _Irregular
    if not boundary or not parts:
        raise _Irregular
    return parts


def _regular_text(part: _Description, headers: dict[str, str], body: str) -> str:
    if part.charset not in _USUAL_CHARSETS:
        raise _Irregular
    encoding = headers.get("content-transfer-encoding", "")
    if encoding.strip().lower() in ("", "7bit", "8bit", "binary"):
        payload = body.encode("ascii", "surrogateescape")
    else:
        encoded = Message()
        encoded["Content-Transfer-Encoding"] = encoding
        encoded.set_payload(body)
        decoded = encoded.get_payload(decode=True)
        payload = decoded if isinstance(decoded, bytes) else b""
    charsets = (part.charset, "utf-8", "iso-8859-1")
    text = payload.decode(next(charset for charset in charsets if _decodes(payload, charset)))
    if part.is_flowed:
        text = unflow(text, delete_space=part.deletes_space)
    return unicodedata.normalize("NFC", text)


def _container(content_type: str, disposition: str | None) -> _Description | None:
    """`_description` of most containers. Each has its own boundary, so that remembered descriptions
    do not help, and those of the standard library took a quarter of the time of all parsing."""
    header = _CONTAINER.fullmatch(content_type) if disposition is None else None
    if header is None:
        return None
    return _Description(header[1].lower(), header[2], "utf-8", False, False, None, "")


# A day's mail comes from a few mail programs, which describe their parts in the same words.
@functools.lru_cache(maxsize=512)
def _description(content_type: str, disposition: str | None) -> _Description:
    if not f"{content_type}{disposition}".isascii():
        raise _Irregular
    part = Message()
    part["Content-Type"] = content_type
    if disposition is not None:
        part["Content-Disposition"] = disposition
    return _Description(
        content_type=part.get_content_type(),
        boundary=part.get_boundary(""),
        charset=str(part.get_content_charset("utf-8")),
        is_flowed=_is_flowed(part),
        deletes_space=_deletes_space(part),
        disposition=part.get_content_disposition(),
        filename=decode_header_part(_filename(part)).strip("<>"),
    )


def _content(headers: Mapping[str, str], bodies: _Bodies) -> _Content:
    sender, to, cc = (_sent_mailboxes(headers.get(name, "")) for name in ("from", "to", "cc"))
    name, address = next(iter(sender), ("", ""))
    return _Content(
        sender=address,
        sender_name=name if address else _decode_header(headers.get("from", "")),
        recipients=[recipient for _, recipient in (*to, *cc)],
        subject=_decode_header(headers.get("subject", "")),
        bodies=bodies,
    )


def _sent_mailboxes(value: str) -> tuple[tuple[str, str], ...]:
    """Names and addresses in a header as sent."""
    value = _octets_decoded(value[:MAX_HEADER_CHARACTERS])
    short = len(value) <= MAX_REMEMBERED_CHARACTERS
    return _remembered_mailboxes(value) if short else _parsed_mailboxes(value)


def _parsed_mailboxes(value: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        ("" if name == address else name, address)
        for name, address in get_addresses(value, decode_names=True)
        if address
    )


# Colleagues write again, and all to the same address.
_remembered_mailboxes = functools.lru_cache(maxsize=4096)(_parsed_mailboxes)


def _read_with_mailparser(head: str, body: str) -> _Content:
    message = email.message_from_string(_UNREAD_FIELD.sub("", head) + body)
    headers = _first_headers(message)
    for name in headers.keys() - _PART_HEADERS:  # mail-parser would decode each of them twice
        del message[name]
    return _content(headers, _bodies(message))


def _first_headers(message: Message) -> dict[str, str]:
    """The first value of each header as sent, by lower-case name, from whatever text."""
    headers: dict[str, str] = {}
    for name, value in message.raw_items():
        headers.setdefault(name.lower(), str(value))
    return headers


def _bodies(message: Message, depth: int = 0) -> _Bodies:
    forwarded = _simplify_parts(message)
    mail = MailParser(message)
    bodies = _Bodies(
        texts=mail.text_plain,
        htmls=mail.text_html,
        attachments=[part["filename"].strip("<>") for part in mail.attachments],
    )
    if forwarded and not bodies.has_text and depth < MAX_FORWARDS:
        inner = _bodies(forwarded[0], depth + 1)
        return replace(bodies, texts=inner.texts, htmls=inner.htmls)
    return bodies


def _simplify_parts(message: Message) -> list[Message]:
    """Prepare a message for mail-parser, in place; the forwarded messages are returned.

    mail-parser adds the text of forwarded messages to that of their carrier, encodes attachments
    that nothing reads here, gives random names to those without one, and decodes text in a wrong
    charset with replacement characters. So forwards and attachments are emptied and named, a
    charset that does not fit is replaced by one that does, and the soft line breaks that it would
    keep are undone.
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
    return [child for child in payload if isinstance(child, Message)] if payload else []


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
        name = (part.get_filename() or "").strip()
        decode_header_part(name)  # as mail-parser will do
    except ValueError:
        return ""
    return name


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


def _read_with_stdlib(head: str, body: str) -> _Content:
    # All as bytes: where a line that is no header ends the headers early, the rest of them is body,
    # which holds no decoded text. The older policy: the default one takes quadratic time to parse
    # long headers.
    octets = f"{_UNREAD_FIELD.sub('', head)}{body}".encode("utf-8", "surrogateescape")
    message = email.message_from_string(octets.decode("ascii", "surrogateescape"))
    senders = _mailboxes(_header_text(message, "from"))
    name, address = senders[0] if senders else ("", "")
    recipients = _mailboxes(_header_text(message, "to"), _header_text(message, "cc"))
    return _Content(
        sender=address,
        sender_name=name,
        recipients=[recipient for _, recipient in recipients],
        subject=_header_text(message, "subject"),
        bodies=_stdlib_bodies(message),
    )


def _stdlib_bodies(message: Message) -> _Bodies:
    bodies = _Bodies([], [], [])
    texts = {"text/plain": bodies.texts, "text/html": bodies.htmls}
    for part in message.walk():
        if part.is_multipart():
            continue
        content_type = part.get_content_type()
        if part.get_content_maintype() == "multipart":  # without its boundary it is one text
            content_type = "text/plain"
        if content_type not in texts or part.get_content_disposition() == "attachment":
            bodies.attachments.append(_decode_header(_filename(part) or "attachment"))
        elif isinstance(payload := part.get_payload(decode=True), bytes):
            text = _decoded(payload, str(part.get_content_charset("utf-8")))
            if _is_flowed(part):
                text = unflow(text, delete_space=_deletes_space(part))
            texts[content_type].append(text)
    return bodies


def _mailboxes(*values: str) -> list[tuple[str, str]]:
    """Names and addresses in header values; none where comments are nested beyond reason."""
    try:
        return getaddresses(values)
    except RecursionError:
        return []


def _header_text(message: Message, name: str) -> str:
    """The first value of a header, decoded."""
    return _decode_header(_first_headers(message).get(name, ""))


def _decode_header(raw: str) -> str:
    """A header's text; what cannot be decoded is kept as sent."""
    text = _octets_decoded(raw[:MAX_HEADER_CHARACTERS])
    return _ENCODED_WORDS.sub(lambda run: _decode_words(run[0]), " ".join(text.split()))


def _octets_decoded(text: str) -> str:
    if text.isascii():
        return text
    return decode_unlabelled(text.encode("utf-8", "surrogateescape"))


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
    subject, body = without_entities(text.get("subject", "").strip()), text.get("body", "").strip()
    if not subject and not body:
        raise UnreadableMessage("the row has neither a subject nor a body")
    name, address = _row_sender(text)
    own_id, replied = bare_id(text.get("message_id")), bare_id(text.get("in_reply_to"))
    is_html = has_tags(body)
    return ParsedMessage(
        message_id=own_id,
        in_reply_to=replied,
        thread_id=replied or own_id,
        sender=_address(address),
        sender_name=name or None,
        recipients=_addresses(
            [recipient for _, recipient in _mailboxes(text.get("recipients", ""))]
        ),
        subject=subject or None,
        body_text=None if is_html else without_entities(body)[:MAX_BODY_CHARACTERS] or None,
        body_html=body[:MAX_BODY_CHARACTERS] if is_html else None,
        attachments=[],
        kind="request",
    )


def _row_sender(text: Mapping[str, str]) -> tuple[str, str]:
    """Name and address of a row's sender, whose columns may hold either or both."""
    names, addresses = [], []
    for field in ("sender_name", "sender"):
        written = text.get(field, "").strip()
        name, address = next(iter(_mailboxes(written)), ("", ""))
        names.append(name if "@" in address else written)
        addresses.append(address if "@" in address else "")
    return next(filter(None, names), ""), next(filter(None, addresses), "")


def _kind(fields: HeaderFields, subject: str) -> Kind:
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
        or (_automatic_subject().match(subject) and not fields.keys().isdisjoint(_ANSWER_FIELDS))
    ):
        return "auto_reply"
    if precedence == "list" or not fields.keys().isdisjoint({"list-id", "list-unsubscribe"}):
        return "list"
    return "auto_reply" if precedence == "bulk" else "request"


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


def _addresses(addresses: list[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, map(_address, addresses))))


def _joined(parts: list[str]) -> str | None:
    texts = (clean_text(part).replace("\r\n", "\n") for part in parts)
    return "\n".join(text for text in texts if text.strip())[:MAX_BODY_CHARACTERS] or None
