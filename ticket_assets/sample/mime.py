"""MIME entities written byte by byte, so that the same mail is the same bytes every time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

Header = tuple[str, str]
_WORD_LENGTH = 44
"""Characters between the frame of an encoded word: a line with one has 76 (RFC 2047)."""
_Q_SIGNS = tuple(
    "_" if byte == 0x20 else chr(byte) if chr(byte).isalnum() and byte < 128 else f"={byte:02X}"
    for byte in range(256)
)


@dataclass(frozen=True)
class Entity:
    """A part with its content headers and its encoded body, which ends with a newline."""

    headers: tuple[Header, ...]
    body: bytes


def text_entity(
    text: str, subtype: str, charset: str, encoding: str, parameters: str = ""
) -> Entity:
    """`text` as text/`subtype`; UTF-8 takes over where `charset` lacks a character."""
    try:
        data = text.encode(charset)
    except UnicodeEncodeError:
        charset, data = "utf-8", text.encode("utf-8")
    return Entity(
        (
            ("Content-Type", f'text/{subtype}; charset="{charset}"{parameters}'),
            ("Content-Transfer-Encoding", encoding),
        ),
        _encoded(data, encoding),
    )


def attachment_entity(name: str, media_type: str, data: bytes, as_words: bool) -> Entity:
    """A file; `as_words` puts an accented name in encoded words as Outlook does, else RFC 2231."""
    if name.isascii():
        parameters = (f'; name="{name}"', f'; filename="{name}"')
    elif as_words:
        word = encoded_words(name, "utf-8", "b")
        parameters = (f'; name="{word}"', f'; filename="{word}"')
    else:
        escaped = f"utf-8''{quote(name)}"
        parameters = (f"; name*={escaped}", f"; filename*={escaped}")
    return Entity(
        (
            ("Content-Type", f"{media_type}{parameters[0]}"),
            ("Content-Transfer-Encoding", "base64"),
            ("Content-Disposition", f"attachment{parameters[1]}"),
        ),
        base64.encodebytes(data),
    )


def multipart(subtype: str, boundary: str, parts: Sequence[Entity]) -> Entity:
    mark = b"--" + boundary.encode("ascii")
    body = b"".join(mark + b"\n" + rendered(part.headers, part) + b"\n" for part in parts)
    return Entity(
        (("Content-Type", f'multipart/{subtype}; boundary="{boundary}"'),), body + mark + b"--\n"
    )


def rendered(headers: Iterable[Header], entity: Entity) -> bytes:
    """Header lines, the empty line, the body. Header values are ASCII by now."""
    lines = "".join(f"{name}: {value}\n" for name, value in headers)
    return lines.encode("ascii") + b"\n" + entity.body


def encoded_words(text: str, charset: str, encoding: str) -> str:
    """`text` as it may stand in a header: itself if ASCII, else RFC 2047 words, folded.

    `encoding` is "q" or "b".
    """
    if text.isascii():
        return text
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        charset = "utf-8"
    words, data = [], b""
    for sign in text:
        more = sign.encode(charset)
        # A character's bytes must not be torn apart between two words.
        if len(_word_body(data + more, encoding)) > _WORD_LENGTH:
            words.append(_word_body(data, encoding))
            data = b""
        data += more
    words.append(_word_body(data, encoding))
    return "\n ".join(f"=?{charset}?{encoding.upper()}?{word}?=" for word in words)


def address(name: str, mailbox: str, charset: str, encoding: str) -> str:
    """A display name with its address, the name quoted or encoded as needed."""
    if name.isascii():
        return f'"{name}" <{mailbox}>' if set(name) & set(",.'()") else f"{name} <{mailbox}>"
    return f"{encoded_words(name, charset, encoding)} <{mailbox}>"


def _word_body(data: bytes, encoding: str) -> str:
    if encoding == "b":
        return binascii.b2a_base64(data, newline=False).decode("ascii")
    return "".join(map(_Q_SIGNS.__getitem__, data))


def _encoded(data: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return base64.encodebytes(data.replace(b"\n", b"\r\n"))
    if encoding == "quoted-printable":
        data = binascii.b2a_qp(data, istext=True)
    return data if data.endswith(b"\n") else data + b"\n"
