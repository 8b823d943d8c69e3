"""Addresses of e-mail in one spelling, of the many in which clients write the same mailbox."""

from __future__ import annotations

import re
import unicodedata
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import getaddresses
from itertools import chain

MOST_CHARACTERS = 20_000
"""Of a `From`; what goes beyond is an attack on the patterns that look for an address in it."""
_WELL_FORMED = re.compile(r'(?:"[^"]*"|[^\s@"])+@[^\s@]+')
_QUOTED_NAME = re.compile(r'(?<!<)"(?:[^"\\]|\\.)*+"(?![\s.]*@)')
_ADDRESS = re.compile(r'(?<![^\s<>,;:"()])(?:"(?:[^"\\]|\\.)*+"|[^\s<>,;:"()@])++@[^\s<>,;:"()]+')
_NOT_SEEN = {"Cc", "Cf", "Zs", "Zl", "Zp"}
"""Unicode's categories of characters that nobody sees: controls, marks of direction, spaces."""

_AROUND = "\"'<>()[].,;:"
"""What may stand around an address and belongs to none."""


def canonical_address(address: str) -> str:
    """The spelling of an address that all spellings of its mailbox share, in lower case.

    Quotes (`"anne"@example.org`, `'anne@example.org'`), a dot at the end, wide letters, spaces, and
    a domain of other letters than ASCII make no other mailbox. Text that is no address comes back
    without an `@`, or with nothing on one side of it.
    """
    text = unicodedata.normalize("NFKC", address).lower().removeprefix("mailto:")
    text = "".join(char for char in text if unicodedata.category(char) not in _NOT_SEEN)
    local, at, domain = text.rpartition("@")
    local = re.sub(r"\\(.)", r"\1", local).replace('"', "").strip("'<([")
    return f"{local}{at}{_in_ascii(domain.strip(_AROUND))}"


def is_address(text: str) -> bool:
    """Whether the text names a mailbox, however it is spelt."""
    local, _, domain = canonical_address(text).rpartition("@")
    return bool(local and domain)


def addresses_in(value: str) -> set[str]:
    """The canonical addresses that a `From`, or a cell of an export, names; those that stand in a
    quoted name are not addresses."""
    value = value[:MOST_CHARACTERS]
    return set(chain.from_iterable(map(_addresses, {value, _decoded(value)})))


def spellings_pattern(address: str) -> str:
    """A regular expression, for lower or upper case, of the spellings of an address in a text."""
    local, _, domain = canonical_address(address).rpartition("@")
    domains = {domain, _from_ascii(domain)}
    quotes = r"[\"'\\]*"
    # In JSON and in addresses alike, what stands around an address is none of these.
    return (
        rf"(?<![\w.+-]){quotes}{re.escape(local)}{quotes}@"
        rf"(?:{'|'.join(map(re.escape, sorted(domains)))})(?![\w-])"
    )


def _addresses(text: str) -> set[str]:
    text = unicodedata.normalize("NFKC", text)
    try:
        parsed = [address for _, address in getaddresses([text])]
    except RecursionError:  # a thousand comments, one in the other
        parsed = [""]
    addresses = list(filter(_WELL_FORMED.fullmatch, parsed))
    if len(addresses) < len(parsed):
        # Of text that is not well-formed the library understands a part, and not always the right
        # one: then every address in it counts.
        addresses += _ADDRESS.findall(_QUOTED_NAME.sub(" ", text))
    return set(filter(is_address, map(canonical_address, addresses)))


def _decoded(value: str) -> str:
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return value


def _in_ascii(domain: str) -> str:
    try:
        return domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _from_ascii(domain: str) -> str:
    try:
        return domain.encode().decode("idna")
    except UnicodeError:
        return domain
