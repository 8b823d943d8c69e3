"""Header lines read from a message's bytes without parsing its body."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header

from ticket_assets.mail.charsets import decode, decode_unlabelled

HeaderFields = dict[str, list[str]]
"""Unfolded values of each header in order, by lower-case name; encoded words are kept as sent."""

MAX_HEAD_BYTES = 1 << 20
"""What is read of a header block, which takes thirty times its size to read: four of the longest
headers that are read."""
MAX_HEADER_CHARACTERS = 1 << 18
"""Length to which a header is read: some 6,000 recipients, in less than a second."""

ENCODED_WORDS = r"=\?[^?\s]+\?[bq]\?[^?]*\?=(?:\s+=\?[^?\s]+\?[bq]\?[^?]*\?=)*"
"""Words of a header in another charset, in a row: they belong together without the blanks."""

_LAST_CHARACTER = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,3}\Z")
_END = re.compile(rb"\n\r?\n")
_LEADING = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
_ENCODED_WORDS = re.compile(ENCODED_WORDS, re.IGNORECASE)
_FIELD = re.compile(r"^([!-9;-~]{1,100})[ \t]*:(.*(?:\n[ \t].*)*)", re.MULTILINE)


def split_message(content: bytes) -> tuple[str, bytes]:
    """The header block as text, and the bytes after it, which start with the empty line.

    A byte-order mark and blank lines before the headers are dropped: some exports write them, and
    a strict parser would then see a message without headers. So is what lies beyond MAX_HEAD_BYTES.
    """
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    leading = _LEADING.match(content)
    start = leading.end() if leading else 0
    end = _END.search(content, start)
    stop = end.start() if end else len(content)
    head = content[start : min(stop, start + MAX_HEAD_BYTES)]
    if len(head) < stop - start:
        head = _LAST_CHARACTER.sub(b"", head)  # half of one would be taken for another encoding
    return decode_unlabelled(head), content[stop:]


def header_fields(head: str) -> HeaderFields:
    """Every header of a block; empty when the block does not hold any."""
    fields: HeaderFields = {}
    for name, value in _FIELD.findall(head):
        fields.setdefault(name.lower(), []).append(" ".join(value.split()))
    return fields


def header_text(raw: str) -> str:
    """A header's value with its encoded words decoded, as far as they can be, on one line."""
    text = " ".join(decode_octets(raw[:MAX_HEADER_CHARACTERS]).split())
    return _ENCODED_WORDS.sub(lambda run: _decoded_words(run[0]), text)


def decode_octets(raw: str) -> str:
    """Text in which octets stand as surrogates, as the parser of the standard library leaves them,
    or which is text already."""
    return raw if raw.isascii() else decode_unlabelled(raw.encode("utf-8", "surrogateescape"))


def _decoded_words(run: str) -> str:
    # One run at a time: decode_header garbles raw 8-bit text that stands beside encoded words.
    try:
        chunks = decode_header(run)
    except (HeaderParseError, ValueError):  # broken base64
        return run
    return "".join(
        chunk if isinstance(chunk, str) else decode(chunk, charset or "utf-8")
        for chunk, charset in chunks
    )


def message_id(fields: HeaderFields) -> str | None:
    """The message's own id without angle brackets, or None."""
    return bare_id(next(iter(fields.get("message-id", [])), None))


def bare_id(value: str | None) -> str | None:
    """A message id without blanks, NUL characters and angle brackets; None when nothing is left."""
    return (value or "").replace("\x00", "").strip().strip("<>").strip() or None
