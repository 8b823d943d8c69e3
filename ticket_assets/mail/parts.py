"""The texts of a message's parts, and the names of the files among them."""

from __future__ import annotations

import functools
import mimetypes
import re
import unicodedata
from dataclasses import dataclass, replace
from email.feedparser import FeedParser
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import NamedTuple

from ticket_assets.mail.charsets import decode
from ticket_assets.mail.flowed import unflow
from ticket_assets.mail.headers import decode_octets, header_text
from ticket_assets.text.enclosures import open_enclosures

MAX_FORWARDS = 3
"""Depth to which a forward without text of its own is searched for text."""
MAX_PARAMETER_CHARACTERS = 1 << 14
"""Length to which the headers that describe a part are read: their parameters take more than linear
time."""
MAX_MENDED = 20
"""Multiparts of one message whose boundary is looked for in their body."""

_COMMON_BOUNDARY = "=_ticket_assets_"
_DECLARED_BOUNDARY = re.compile(
    r"Content-Type:\s*multipart/[\w-]+;\s*boundary=\"(?P<boundary>[\w'()+,./:=?-]{1,70})\"",
    re.ASCII | re.IGNORECASE,
)
_BOUNDARY_END = re.compile(r"(?:--)?[ \t]*(?:\r?\n|\Z)")
_BODY_TYPES = ("text/plain", "text/html")
_COMMENT = re.compile(r"\([^()]*\)")
_ENCODING = re.compile(r"[^\s;,\"']+")
# A line that can be a boundary, above the first header line of a part.
_BOUNDARY = re.compile(
    r"^--(?P<boundary>[!#-\[\]-~](?:[ !#-\[\]-~]{0,98}[!#-\[\]-~])?)[ \t]*\r?\n"
    r"(?=(?:Content|MIME|X)-[\w-]{1,40}:)",
    re.MULTILINE | re.IGNORECASE,
)
# What programs that know no MIME show above the parts: header lines out of place, a notice.
_HEADER_LINE = re.compile(
    r"\s*(?:(?:Content|MIME|X)-[\w-]{1,40}:.*|[\w-]{1,40}=(?:\"[^\"]*\"|[^\s\"]*);?\s*)?",
    re.IGNORECASE,
)
_NOTICE = re.compile(r"\bMIME\b", re.IGNORECASE)


@dataclass(frozen=True)
class Bodies:
    """What a message holds, each in the order of its parts."""

    texts: list[str]
    htmls: list[str]
    attachments: list[str]
    """File names; a forwarded message is named after its subject."""

    @property
    def has_text(self) -> bool:
        """Whether any of the texts says something."""
        return any(part.strip() for part in (*self.texts, *self.htmls))


class _Description(NamedTuple):
    """A part's `Content-Type` and `Content-Disposition`, parsed."""

    content_type: str
    charset: str
    is_flowed: bool
    deletes_space: bool
    disposition: str | None
    filename: str

    @property
    def is_body(self) -> bool:
        is_shown = self.disposition == "inline" or not (self.disposition or self.filename)
        return self.content_type in _BODY_TYPES and is_shown


def read_parts(octets: str) -> Bodies:
    """The texts of a message, given as ASCII with its other octets as surrogates, and file names.

    The text of forwarded messages is taken only where there is no other.

    Raises:
        RecursionError: its parts are nested too deeply.
    """
    return _bodies(_parsed(octets), 0)


def _parsed(octets: str) -> Message:
    # In one piece: `message_from_string` feeds it 8 kB at a time.
    parser = FeedParser()
    parser.feed(_with_common_boundary(octets))
    return parser.close()


def _with_common_boundary(octets: str) -> str:
    """The message with the same boundary as others: `email` compiles a regular expression of each
    that it has not met, which takes as long as the rest of parsing."""
    declared = _DECLARED_BOUNDARY.match(octets)
    if not declared or _COMMON_BOUNDARY in octets:
        return octets
    pieces = octets[declared.end() :].split(f"\n--{declared['boundary']}")
    if not all(map(_BOUNDARY_END.match, pieces[1:])):  # it begins another boundary, or a text
        return octets
    return (
        octets[: declared.start("boundary")]
        + f'{_COMMON_BOUNDARY}"'
        + f"\n--{_COMMON_BOUNDARY}".join(pieces)
    )


def _bodies(message: Message, depth: int) -> Bodies:
    bodies = Bodies([], [], [])
    forwards: list[Message] = []
    mended = 0
    parts = [message]
    while parts:
        part = parts.pop()
        content_type = part.get_content_type()
        children = _children(part)
        if not children and _is_called_multipart(part) and mended < MAX_MENDED:
            children = _parts_found(part)
            mended += 1
        if children and content_type == "message/rfc822":
            forwards.append(children[0])
            subject = header_text(_octets(children[0], "subject"))
            bodies.attachments.append(f"{' '.join(subject.split()) or 'message'}.eml")
        elif children:
            parts += reversed(children)
        else:
            _add_leaf(part, bodies)
    if forwards and not bodies.has_text and depth < MAX_FORWARDS:
        inner = _bodies(forwards[0], depth + 1)
        return replace(bodies, texts=inner.texts, htmls=inner.htmls)
    return bodies


def _octets(part: Message, name: str) -> str:
    """The first value of a header as sent: `Message.get` replaces what is no ASCII."""
    return next((str(value) for key, value in part.raw_items() if key.lower() == name), "")


def _children(part: Message) -> list[Message]:
    if not part.is_multipart():
        return []
    return [child for child in part.get_payload() if isinstance(child, Message)]


def _is_called_multipart(part: Message) -> bool:
    return _octets(part, "content-type").lstrip()[:9].lower() == "multipart"


def _parts_found(part: Message) -> list[Message]:
    """The parts of a multipart whose header does not name their boundary, with the text around
    them; none where its body has no line that looks like one."""
    body = _payload(part).decode("ascii", "surrogateescape")
    found = _BOUNDARY.search(body)
    if not found:
        return []
    header = f'Content-Type: multipart/mixed; boundary="{found["boundary"]}"\n\n'
    multipart = _parsed(header + body)
    above, below = _text_part(multipart.preamble), _text_part(multipart.epilogue)
    return [*above, *_children(multipart), *below]


def _text_part(around: str | None) -> list[Message]:
    lines = (around or "").splitlines()
    text = "\n".join("" if _HEADER_LINE.fullmatch(line) else line for line in lines)
    text = "\n\n".join(part for part in text.split("\n\n") if not _NOTICE.search(part)).strip("\n")
    if not text:
        return []
    part = Message()
    part.set_payload(text)
    return [part]


def _add_leaf(part: Message, bodies: Bodies) -> None:
    """Add a part's text or file name."""
    description = _described(part)
    is_multipart = _is_called_multipart(part)  # and nothing says where a part ends
    if description.is_body or is_multipart:
        text = decode(_payload(part), description.charset)
        if description.content_type == "text/html":
            bodies.htmls.append(unicodedata.normalize("NFC", text))
        else:
            text, file_names = open_enclosures(text)
            if description.is_flowed:
                text = unflow(text, delete_space=description.deletes_space)
            bodies.texts.append(unicodedata.normalize("NFC", text))
            bodies.attachments.extend(file_names)
    if description.filename:
        bodies.attachments.append(description.filename)
    elif not (description.is_body or is_multipart):
        bodies.attachments.append(_name_without_filename(part, description.content_type))


def _name_without_filename(part: Message, content_type: str) -> str:
    content_id = decode_octets(_octets(part, "content-id")).strip().strip("<>")
    if content_id and content_type not in _BODY_TYPES:
        return content_id
    return f"attachment{mimetypes.guess_extension(content_type) or ''}"


def _payload(part: Message) -> bytes:
    """A part's octets. `email` knows no transfer encoding with a semicolon, comment or quotes."""
    written = _octets(part, "content-transfer-encoding")
    if written and (name := _ENCODING.search(_COMMENT.sub(" ", written))):
        part.replace_header("Content-Transfer-Encoding", name[0])
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _described(part: Message) -> _Description:
    content_type, disposition = (
        decode_octets(_octets(part, name)[:MAX_PARAMETER_CHARACTERS])
        for name in ("content-type", "content-disposition")
    )
    return _description(content_type, disposition, part.get_default_type())


# A day's mail comes from a few mail programs, which describe their parts in the same words.
@functools.lru_cache(maxsize=512)
def _description(content_type: str, disposition: str, default: str) -> _Description:
    part = Message()
    part.set_default_type(default)
    for name, value in (("Content-Type", content_type), ("Content-Disposition", disposition)):
        if value:
            part[name] = value
    return _Description(
        content_type=part.get_content_type(),
        charset=_charset(part),
        is_flowed=part.get_content_type() == "text/plain"
        and _parameter(part, "format").lower() == "flowed",
        deletes_space=_parameter(part, "delsp").lower() == "yes",
        disposition=part.get_content_disposition(),
        filename=_filename(part),
    )


def _charset(part: Message) -> str:
    try:
        return str(part.get_content_charset("utf-8"))
    except ValueError:  # a NUL in its name
        return "utf-8"


def _filename(part: Message) -> str:
    """An attachment's name, or nothing; a charset that cannot decode it costs the name."""
    try:
        name = header_text(part.get_filename() or "")
    except ValueError:
        return ""
    return unicodedata.normalize("NFC", name).strip().strip("<>")


def _parameter(part: Message, name: str) -> str:
    return collapse_rfc2231_value(part.get_param(name, "")).strip()
