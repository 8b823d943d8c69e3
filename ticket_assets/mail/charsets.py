"""Text of bytes in the charset that a mail names, or in none."""

from __future__ import annotations

import re

# Python codecs that no mail means; decoding the first takes quadratic time.
_UNFIT = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape"})
_INVALID = re.compile("[\udc80-\udcff]+")
_VALID = re.compile("[^\x00-\x7f\udc80-\udcff]")


def decode(octets: bytes, charset: str) -> str:
    """Text in a charset as mail names it, by UTF-8 or Windows-1252 where it is in another.

    A few bytes that are not in the charset cost themselves alone.
    """
    name = _python_name(charset)
    # Mail that calls itself UTF-16 and has no NUL is plain: no line could end in it otherwise.
    plain = name.startswith(("utf-16", "utf-32")) and octets.isascii() and b"\x00" not in octets
    if name in _UNFIT or plain:
        return decode_unlabelled(octets)
    try:
        return octets.decode(name)
    except (LookupError, ValueError):  # a NUL in the name is a ValueError
        pass
    return _repaired(octets, name) or decode_unlabelled(octets)


def decode_unlabelled(octets: bytes) -> str:
    """Text of bytes that name no usable charset: UTF-8, in which each byte that is not stands for
    a Windows-1252 character; Windows-1252, which old desks send unlabelled, if most are not."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("utf-8", "surrogateescape")
    invalid = _INVALID.findall(text)
    if len(invalid) > len(_VALID.findall(text)):
        return octets.decode("cp1252", "replace")
    return _INVALID.sub(
        lambda run: run[0].encode("ascii", "surrogateescape").decode("cp1252", "replace"), text
    )


def _python_name(charset: str) -> str:
    name = charset.lower().replace("_", "-").strip(" '\"")
    if name.endswith("utf-7"):  # x-unicode-2-0-utf-7
        return "utf-7"
    return "iso2022-jp-ext" if name.startswith(("iso-2022-jp", "cp5022")) else name


def _repaired(octets: bytes, charset: str) -> str | None:
    """Text of a charset beyond ASCII, if most of what is not ASCII in it can be decoded."""
    if charset in ("utf-8", "utf8"):
        return None
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        text = octets.decode(charset, "replace")
    except (LookupError, ValueError):
        return None
    invalid = text.count("\ufffd")
    return text if 2 * invalid <= len(_VALID.findall(text)) else None
