"""What mail programs without MIME put into the text itself: OpenPGP's armour, uuencoded files."""

from __future__ import annotations

import re
from typing import NamedTuple

# Lines of data hold no blanks, so that a sentence is none; a word alone could be one, and therefore
# nothing but data may stand up to the end line. A cut block has no end line but long lines.
_ARMOUR = re.compile(
    r"^-----BEGIN PGP (?!SIGNED)(?P<kind>[A-Z ,/0-9]{4,40})-----[ \t]*\r?\n"
    r"(?:[A-Z][A-Za-z-]{0,20}:[ ][^\r\n]*\r?\n)*+(?:[ \t]*\r?\n)*+"
    r"(?:"
    r"[A-Za-z0-9+/=]{20,80}[ \t]*\r?\n(?:[A-Za-z0-9+/=]{0,80}[ \t]*\r?\n)*+"
    r"-----END PGP (?P=kind)-----[ \t]*(?:\r?\n|\Z)"
    r"|(?:[A-Za-z0-9+/=]{48,80}[ \t]*(?:\r?\n|\Z))++"
    r")",
    re.MULTILINE,
)
# RFC 9580, section 7: what begins with a dash in a signed text has another one and a blank before.
_SIGNED = re.compile(
    r"^-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\r?\n"
    r"(?:(?:(?:Hash|Charset|Comment|NotDashEscaped|Version):[^\r\n]*\r?\n)++(?:[ \t]*\r?\n)*+"
    r"|(?:[ \t]*\r?\n)++)",
    re.MULTILINE,
)
_ESCAPED_DASH = re.compile(r"^- (?=-)", re.MULTILINE)
# The first character of a line says how many bytes it holds: "M" for the 45 of all but the last.
_UUENCODED = re.compile(
    r"^begin [0-7]{3,4} (?P<name>[^\r\n]{1,255}?)[ \t]*\r?\n"
    r"(?P<full>(?:M[ -`]{1,61}\r?\n)*+)(?P<last>[!-L][ -`]{0,61}\r?\n)?+(?:[` ]?[ \t]*\r?\n)*+"
    r"(?P<end>end[ \t]*(?:\r?\n|\Z))?",
    re.MULTILINE,
)
_FULL_LINE = 61
_BASE64_FILE = re.compile(
    r"^begin-base64 [0-7]{3,4} (?P<name>[^\r\n]{1,255}?)[ \t]*\r?\n"
    r"(?:(?!====)[A-Za-z0-9+/=]{1,80}[ \t]*\r?\n)*+====[ \t]*(?:\r?\n|\Z)",
    re.MULTILINE,
)


class Opened(NamedTuple):
    """A text without its enclosures, and the names of the files among them."""

    text: str
    file_names: list[str]


def open_enclosures(text: str) -> Opened:
    """`text` without signatures, keys and ciphertext of OpenPGP, and without uuencoded files.

    The text inside a signed message stays. What merely looks like the frame of a block stays.
    """
    if "-----BEGIN PGP " in text:
        text = _without_armour(text)
    file_names: list[str] = []
    if "begin" in text:
        text = _UUENCODED.sub(lambda file: _taken(file, file_names), text)
        text = _BASE64_FILE.sub(lambda file: _named(file, file_names), text)
    return Opened(text, file_names)


def _without_armour(text: str) -> str:
    if signed := _SIGNED.search(text):
        message = _SIGNED.sub("", text[signed.start() :])
        text = text[: signed.start()] + _ESCAPED_DASH.sub("", message)
    return _ARMOUR.sub("", text)


def _taken(file: re.Match[str], file_names: list[str]) -> str:
    """Nothing in the place of a file, whose name is noted; other text as it is."""
    last = (file["last"] or "").rstrip("\r\n")
    is_last = bool(last) and len(last) - 1 >= (ord(last[0]) - 32) * 4 / 3
    is_file = len(file["full"]) > _FULL_LINE or (is_last and file["end"])
    return _named(file, file_names) if is_file else file[0]


def _named(file: re.Match[str], file_names: list[str]) -> str:
    file_names.append(file["name"])
    return ""
