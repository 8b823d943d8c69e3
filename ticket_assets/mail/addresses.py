"""Addresses of e-mail in one spelling, of the many in which clients write the same mailbox."""

from __future__ import annotations

import functools
import re
import unicodedata
from email.utils import getaddresses
from itertools import chain
from typing import NamedTuple

from mailparser.utils import get_addresses

from ticket_assets.mail.headers import ENCODED_WORDS, MAX_HEADER_CHARACTERS, header_text

MAX_REMEMBERED_CHARACTERS = 500
"""Longer lists of people do not come again."""
MOST_CHARACTERS = 20_000
"""Of a `From`; what goes beyond is an attack on the patterns that look for an address in it."""
_WELL_FORMED = re.compile(r'(?:"[^"]*"|[^\s@"])+@[^\s@]+')
_QUOTED_NAME = re.compile(r'(?<!<)"(?:[^"\\]|\\.)*+"(?![\s.]*@)')
_ADDRESS = re.compile(r'(?<![^\s<>,;:"()])(?:"(?:[^"\\]|\\.)*+"|[^\s<>,;:"()@])++@[^\s<>,;:"()]+')
# What separators have no meaning in: quoted names, comments, addresses, encoded words.
_CLOSED = (
    r'"(?:[^"\\]|\\.)*+"|\((?:[^()\\]|\\.)*+\)|<[^<>]*+>|\[[^\[\]]*+\]'
    rf"|{ENCODED_WORDS}|\\."
)
_CLOSED_TEXT = re.compile(_CLOSED, re.IGNORECASE | re.DOTALL)
_MEMBER = re.compile(rf"(?:{_CLOSED}|[^,;])++", re.IGNORECASE | re.DOTALL)
_QUOTE = re.compile(r"[\"\\]")
_MAILTO = re.compile(r"\bmailto:", re.IGNORECASE)
_LOOSE_ADDRESS = re.compile(r"(?<![^\s<>()\[\]{},;:\"«»|])[^\s<>()\[\]{},;:\"«»|@]++@[\w-][\w.-]*")
_EMPTY_BRACKETS = re.compile(r"[<(\[{\s]{2,}[>)\]}]+|[<(\[{]+[>)\]}]+")
_NOT_SEEN = {"Cc", "Cf", "Zs", "Zl", "Zp"}
"""Unicode's categories of characters that nobody sees: controls, marks of direction, spaces."""

_AROUND = "\"'<>()[].,;:"
"""What may stand around an address and belongs to none."""


class Mailbox(NamedTuple):
    """A person in a header, as sent: the name may be empty, the address is not in one spelling."""

    name: str
    address: str


def mailboxes_in(header: str) -> tuple[Mailbox, ...]:
    """The people in a `From`, `To` or `Cc`, with an address each, encoded words decoded.

    Clients separate them by a semicolon too, and leave the brackets around an address away.
    """
    header = header[:MAX_HEADER_CHARACTERS]
    short = len(header) <= MAX_REMEMBERED_CHARACTERS
    return _remembered_mailboxes(header) if short else _mailboxes(header)


def sender_in(header: str) -> Mailbox:
    """The first person in a `From`; the address is empty where it holds a name alone."""
    people = mailboxes_in(header)
    if not people:
        return Mailbox(header_text(header), "")
    name = header_text(header.partition("<")[0])
    # "Martin, Jeanne <jeanne@example.org>", without the quotes that a comma needs.
    if (
        len(people) == 1
        and people[0].name
        and name.endswith(f", {people[0].name}")
        and "@" not in name
    ):
        return people[0]._replace(name=name)
    return people[0]


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
    quoted name are not addresses, where there is another."""
    value = value[:MOST_CHARACTERS]
    read = {canonical_address(person.address) for person in mailboxes_in(value)}
    return set(filter(is_address, read)).union(*map(_addresses, {value, header_text(value)}))


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


def _mailboxes(header: str) -> tuple[Mailbox, ...]:
    header = _CLOSED_TEXT.sub(lambda closed: _without_encoded_words(closed[0]), header)
    header = _MAILTO.sub("", header)
    is_group = ":" in _CLOSED_TEXT.sub("", header)
    members = [header] if is_group else _MEMBER.findall(header)
    return tuple(chain.from_iterable(map(_member_mailboxes, members)))


def _without_encoded_words(closed: str) -> str:
    # In quotes, since their commas and brackets separate nothing.
    if not closed.startswith("=?"):
        return closed
    return f'"{_QUOTE.sub("", header_text(closed))}"'


# Colleagues write again, and all to the same address.
_remembered_mailboxes = functools.lru_cache(maxsize=4096)(_mailboxes)


def _member_mailboxes(member: str) -> list[Mailbox]:
    found = [_mailbox(name, address) for name, address in get_addresses(member) if address]
    return found or _loose_mailbox(header_text(member))


def _loose_mailbox(text: str) -> list[Mailbox]:
    """The one address in a text that is written by no rule, and what else stands in it."""
    addresses = {address.strip("'.-") for address in _LOOSE_ADDRESS.findall(text)}
    if len(addresses) != 1:
        return []
    (address,) = addresses
    name = _EMPTY_BRACKETS.sub(" ", text.replace(address, " "))
    return [_mailbox(" ".join(name.split()).strip(_AROUND + " {}|–-"), address)]


def _mailbox(name: str, address: str) -> Mailbox:
    address = address.rstrip(".'").removeprefix("'") if address.endswith(("'", ".")) else address
    # Some programs put encoded words into quotes, where the standard knows none.
    name = header_text(name)
    if name[:1] in ("'", '"') and name[0] == name[-1]:
        name = name.strip(name[0]).strip()
    return Mailbox("" if name.casefold() == address.casefold() else name, address)


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
