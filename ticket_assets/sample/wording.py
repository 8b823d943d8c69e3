"""Turns templates into sentences: choices made, slots filled, hurried typing imitated."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from ticket_assets.sample import dates
from ticket_assets.sample.material import Material

_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_SHORTHAND = {
    "fr": {"pouvez-vous": "pvz", "bonjour": "bjr", "pour": "pr", "avec": "av", "que": "q"}
    | {"je ne": "j", "merci": "mci", "problème": "pb", "toujours": "tjs", "c'est": "c"},
    "en": {"please": "pls", "you": "u", "are": "r", "your": "ur", "thanks": "thx"}
    | {"because": "cos", "problem": "pb", "tomorrow": "tmrw", "and": "&"},
}


Details = dict[tuple[str, int], str]
"""What the slots of a ticket stand for: the n-th {app} is the same in its subject and its text."""


@dataclass(frozen=True)
class Pen:
    """Writes sentences in one language as of one moment."""

    material: Material
    moment: datetime
    rng: Random

    def fill(self, template: str, details: Details | None = None) -> str:
        """`template` with no choice or slot left.

        Slots that `details` knows are filled from it, the others are added to it.
        """
        known: Details = {} if details is None else details
        seen: Counter[str] = Counter()

        def slot(match: re.Match[str]) -> str:
            name = match[1]
            key = name, seen[name]
            seen[name] += 1
            if key not in known:
                known[key] = self._value(name)
            return known[key]

        chosen = _CHOICE.sub(lambda match: self.rng.choice(match[1].split("|")), template)
        return _SLOT.sub(slot, chosen)

    def any_of(self, templates: Sequence[str], details: Details | None = None) -> str:
        """One of the `templates`, filled."""
        return self.fill(self.rng.choice(templates), details)

    def phrase(self, kind: str) -> str:
        """One of the material's phrases of that kind, filled."""
        return self.any_of(self.material.phrases[kind])

    def phrases(self, kind: str, count: int) -> list[str]:
        """Several different phrases of one kind, filled."""
        chosen = self.rng.sample(self.material.phrases[kind], count)
        return [self.fill(template) for template in chosen]

    def _value(self, name: str) -> str:
        if name in self.material.words:
            return self.any_of(self.material.words[name])
        return _SLOTS[name](self)


def full_name(material: Material, rng: Random) -> str:
    first = rng.choice(material.words[f"first_{material.language}"])
    return f"{first} {rng.choice(material.words[f'last_{material.language}'])}"


def mailbox_name(name: str) -> str:
    """The part of an address before the @, made from a person's name."""
    plain = without_accents(name).lower().replace("'", "")
    return ".".join(plain.split())


def phone(language: str, rng: Random) -> str:
    """A number from the ranges that ARCEP and Ofcom keep for works of fiction.

    Their mobile ranges are left out: they lie outside the numbering plans by which phone numbers
    are recognised, so that they would stand in a masked text as if masking did not work.
    """
    if language == "fr":
        prefix = rng.choice(("01 99 00", "02 61 91", "03 53 01", "04 65 71", "05 36 49"))
        number = f"{prefix} {rng.randrange(100):02d} {rng.randrange(100):02d}"
        style = rng.random()
        if style < 0.2:
            return number.replace(" ", ".")
        if style < 0.35:
            return number.replace(" ", "")
        return f"+33 {number[1:]}" if style < 0.5 else number
    prefix = rng.choice(("020 7946 0", "0113 496 0", "0117 496 0", "+44 20 7946 0", "03069 990"))
    return f"{prefix}{rng.randrange(1000):03d}"


def without_accents(text: str) -> str:
    spelled = text.replace("œ", "oe").replace("Œ", "OE").replace("’", "'")
    decomposed = unicodedata.normalize("NFD", spelled)
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def with_typos(text: str, rng: Random) -> str:
    """`text` with one neighbouring pair of letters swapped in about every tenth word."""
    words = text.split(" ")
    for position, word in enumerate(words):
        if len(word) > 4 and word.isalpha() and rng.random() < 0.1:
            at = rng.randrange(1, len(word) - 2)
            words[position] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def as_text_message(text: str, language: str) -> str:
    """`text` the way it is thumbed on a phone: lower case, shortened, little punctuation."""
    lowered = text.lower()
    for word, short in _SHORTHAND[language].items():
        lowered = re.sub(rf"(?<!\w){word}(?!\w)", short, lowered)
    return re.sub(r"[.,;]+(?= |$)", "", lowered)


def _host(pen: Pen) -> str:
    return f"{pen.rng.choice(('PC', 'LT', 'WKS', 'PORT'))}-{pen.rng.randrange(1000, 9999)}"


def _ip(pen: Pen) -> str:
    network = pen.rng.choice(
        ("192.0.2", "198.51.100", "203.0.113", f"10.{pen.rng.randrange(60)}.4")
    )
    return f"{network}.{pen.rng.randrange(2, 254)}"


def _error(pen: Pen) -> str:
    style = pen.rng.randrange(4)
    if style == 0:
        return f"0x8{pen.rng.randrange(16**7):07X}"
    if style == 1:
        return f"E-{pen.rng.randrange(100, 999)}"
    return f"{pen.rng.choice(('ERR', 'AUTH', 'SRV', 'C'))}{pen.rng.randrange(1000, 9999)}"


def _path(pen: Pen) -> str:
    share = pen.any_of(pen.material.words["share"])
    return rf"\\{pen.rng.choice(pen.material.words['server'])}\{share}"


def _email(pen: Pen) -> str:
    domain = pen.rng.choice(("example.com", "example.net", "client.example", "mail.example.org"))
    return f"{mailbox_name(full_name(pen.material, pen.rng))}@{domain}"


def _iban(pen: Pen) -> str:
    if pen.material.language == "fr":
        country, account = "FR", f"99999{pen.rng.randrange(10**18):018d}"
    else:
        country, account = "GB", f"TEST60{pen.rng.randrange(10**12):012d}"
    # No bank has these codes. ISO 13616: the check digits make the rearranged number 1 modulo 97.
    digits = "".join(str(int(sign, 36)) for sign in f"{account}{country}00")
    number = f"{country}{98 - int(digits) % 97:02d}{account}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def _past(pen: Pen) -> str:
    return _written(pen.moment - timedelta(days=pen.rng.randrange(2, 16)), pen)


def _date(pen: Pen) -> str:
    return _written(pen.moment + timedelta(days=pen.rng.randrange(2, 40)), pen)


def _written(day: datetime, pen: Pen) -> str:
    if pen.rng.random() < 0.3:
        return day.strftime("%d/%m")
    return dates.numeric(day, pen.material.language)


def _hour(pen: Pen) -> str:
    """A full hour that is still to come on the day, while the office is open."""
    return str(pen.rng.randrange(min(max(pen.moment.hour + 1, 9), 17), 19))


def _printer(pen: Pen) -> str:
    style = pen.rng.randrange(3)
    if style == 0:
        return f"IMP-{pen.rng.choice(('LYO', 'NTE', 'LIL', 'BRS'))}-{pen.rng.randrange(1, 60):02d}"
    if style == 1:
        return f"PRN{pen.rng.randrange(100, 999)}"
    model = pen.rng.choice(("Ricoh C", "Canon iR ", "HP M", "Zebra ZD"))
    return f"{model}{pen.rng.randrange(200, 700)}"


def _file(pen: Pen) -> str:
    stem = pen.rng.choice(pen.material.words["module"])
    extension = pen.rng.choice(("xlsx", "xlsm", "docx"))
    return f"{stem}_{pen.moment.year}_v{pen.rng.randrange(1, 12)}.{extension}"


_SLOTS: dict[str, Callable[[Pen], str]] = {
    "host": _host,
    "ip": _ip,
    "error": _error,
    "path": _path,
    "email": _email,
    "iban": _iban,
    "date": _date,
    "past": _past,
    "hour": _hour,
    "printer": _printer,
    "file": _file,
    "person": lambda pen: full_name(pen.material, pen.rng),
    "phone": lambda pen: phone(pen.material.language, pen.rng),
    "ref": lambda pen: f"INC{pen.rng.randrange(10**6, 10**7)}",
    "room": lambda pen: f"{pen.rng.choice('ABCD')}{pen.rng.randrange(101, 420)}",
    "version": lambda pen: f"{pen.rng.randrange(3, 24)}.{pen.rng.randrange(10)}",
    "number": lambda pen: str(pen.rng.randrange(1000, 99999)),
    "number2": lambda pen: str(pen.rng.randrange(3, 25)),
    "number3": lambda pen: str(pen.rng.randrange(60, 400)),
    "minutes": lambda pen: str(pen.rng.randrange(10, 90, 5)),
    "year": lambda pen: str(pen.moment.year),
    "mailbox": lambda pen: (
        f"{pen.rng.choice(('contact', 'commandes', 'orders', 'rh', 'sales', 'compta', 'info'))}"
        f"{pen.rng.choice(('', '', '.lyon', '.uk', '.sud', '.b2b'))}@example.org"
    ),
}
