"""Header lines read from a message's bytes without parsing its body."""

from __future__ import annotations

import re

HeaderFields = dict[str, list[str]]
"""Unfolded values of each header in order, by lower-case name; encoded words are kept as sent."""

MAX_HEAD_BYTES = 1 << 20
"""What is read of a header block, which takes thirty times its size to read: four of the longest
headers that are read."""

_LAST_CHARACTER = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,3}\Z")
_END = re.compile(rb"\n\r?\n")
_LEADING = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
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


def decode_unlabelled(octets: bytes) -> str:
    """Text of bytes that name no usable charset: UTF-8 if valid, else Windows-1252, which old
    desks send unlabelled and no e-mail parser tries."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def message_id(fields: HeaderFields) -> str | None:
    """The message's own id without angle brackets, or None."""
    return bare_id(next(iter(fields.get("message-id", [])), None))


def bare_id(value: str | None) -> str | None:
    """A message id without blanks, NUL characters and angle brackets; None when nothing is left."""
    return (value or "").replace("\x00", "").strip().strip("<>").strip() or None
