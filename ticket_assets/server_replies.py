"""Replies of servers, made fit to be shown and kept."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from html import unescape
from urllib.parse import unquote

from ticket_assets.text.characters import visible

REPLY_CHARACTERS = 200
HIDDEN = "…"
_PIECE = 5
"""So many characters of a secret in a row are taken for a part of it: servers quote it cut off."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{4,}")
_HEXADECIMAL = re.compile(r"(?:[0-9a-fA-F]{2}){3,}")


def cleansed(reply: str, secrets: Iterable[str | None]) -> str:
    """A server's reply on one line of at most `REPLY_CHARACTERS`, without what was sent to it.

    Servers quote a login that they refuse. A word that holds a secret, or a piece of it, is left
    out: as it is, quoted, or in Base64, hexadecimal or percent encoding, also together with other
    things, as SASL's PLAIN and XOAUTH2 send it.
    """
    line = " ".join(reply.split())
    for secret in filter(None, secrets):
        line = _without(line, secret)
    line = visible(line)
    return line if len(line) <= REPLY_CHARACTERS else line[: REPLY_CHARACTERS - 1] + "…"


def _without(line: str, secret: str) -> str:
    line = line.replace(" ".join(secret.split()) or secret, HIDDEN)
    pieces = {secret[start : start + _PIECE] for start in range(max(1, len(secret) - _PIECE + 1))}
    words = [HIDDEN if _holds(word, pieces) else word for word in line.split(" ")]
    # What remains may be the secret in several words.
    return HIDDEN if _holds("".join(words), {secret}) else " ".join(words)


def _holds(text: str, pieces: set[str]) -> bool:
    return any(piece in form for form in _forms(text) for piece in pieces)


def _forms(text: str) -> Iterator[str]:
    """The text, and what it may stand for."""
    yield text
    yield unquote(text)
    yield unescape(text)
    yield text.replace("\\", "")
    with suppress(UnicodeError):  # bytes as Python shows them
        yield text.encode("ascii").decode("unicode_escape").encode("latin-1").decode("utf-8")
    for run in _HEXADECIMAL.findall(text):
        yield bytes.fromhex(run).decode("utf-8", "replace")
    for run in _BASE64.findall(text):
        encoded = run.translate(str.maketrans("-_", "+/"))
        for start in range(4):  # it may be the middle of something
            part = encoded[start:]
            part = part[: len(part) - (len(part) % 4 == 1)]
            with suppress(binascii.Error):
                decoded = base64.b64decode(part + "=" * (-len(part) % 4))
                yield decoded.decode("utf-8", "replace")
