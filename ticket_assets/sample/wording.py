"""Turns templates into sentences: choices made, slots filled, hurried typing imitated."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from ticket_assets.sample.material import Language

_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT = re.compile(r"\{([\w.:]+)\}")
_NUMBER = re.compile(r"(\d+)\.\.(\d+):?(\w*)")

Details = dict[tuple[str, int], str]
"""What the slots of a ticket stand for: the n-th {app} is the same in its subject and its text."""


@dataclass(frozen=True)
class Pen:
    """Writes sentences in one language as of one moment."""

    language: Language
    moment: datetime
    rng: Random

    def fill(self, template: str, details: Details | None = None) -> str:
        """`template` with no choice or slot left.

        Slots that `details` knows are filled from it, the others are added to it.
        """
        values: Details = {} if details is None else details
        occurrences: Counter[str] = Counter()

        def slot(match: re.Match[str]) -> str:
            name = match[1]
            key = name, occurrences[name]
            occurrences[name] += 1
            if key not in values:
                values[key] = self._value(name)
            return values[key]

        chosen = _CHOICE.sub(lambda match: self.rng.choice(match[1].split("|")), template)
        return _SLOT.sub(slot, chosen)

    def any_of(self, templates: Sequence[str], details: Details | None = None) -> str:
        """One of the `templates`, filled."""
        return self.fill(self.rng.choice(templates), details)

    def phrase(self, kind: str) -> str:
        """One of the language's phrases of that kind, filled."""
        return self.any_of(self.language.phrases[kind])

    def phrases(self, kind: str, count: int) -> list[str]:
        """Several different phrases of one kind, filled."""
        chosen = self.rng.sample(self.language.phrases[kind], count)
        return [self.fill(template) for template in chosen]

    def _value(self, name: str) -> str:
        if words := self.language.words.get(name):
            return self.fill(words[0]) if len(words) == 1 else self.any_of(words)
        if number := _NUMBER.fullmatch(name):
            return format(self.rng.randint(int(number[1]), int(number[2])), number[3])
        return _SLOTS[name](self)


def full_name(language: Language, rng: Random) -> str:
    return f"{rng.choice(language.words['first'])} {rng.choice(language.words['last'])}"


def mailbox_name(name: str) -> str:
    """The part of an address before the @, made from a person's name."""
    plain = without_accents(name).lower().replace("'", "")
    return ".".join(plain.split())


def phone(language: Language, rng: Random) -> str:
    """A number from the ranges of the language's forms, in one of the ways people write it."""
    number = _digits(rng.choice(language.forms.phones), rng)
    if not language.forms.international:
        return number
    style = rng.random()
    if style < 0.35:
        return number.replace(" ", "." if style < 0.2 else "")
    return f"{language.forms.international}{number[1:]}" if style < 0.5 else number


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


def as_text_message(text: str, language: Language) -> str:
    """`text` the way it is thumbed on a phone: lower case, shortened, little punctuation."""
    lowered = text.lower()
    for word, short in language.forms.shorthand.items():
        lowered = re.sub(rf"(?<!\w){word}(?!\w)", short, lowered)
    return re.sub(r"[.,;]+(?= |$)", "", lowered)


def _digits(pattern: str, rng: Random) -> str:
    """`pattern` with every run of # replaced by as many digits."""
    return re.sub("#+", lambda run: f"{rng.randrange(10 ** len(run[0])):0{len(run[0])}d}", pattern)


def _ip(pen: Pen) -> str:
    inside = f"10.{pen.rng.randrange(60)}.4"
    network = pen.rng.choice(("192.0.2", "198.51.100", "203.0.113", inside))
    return f"{network}.{pen.rng.randrange(2, 254)}"


def _path(pen: Pen) -> str:
    share = pen.any_of(pen.language.words["share"])
    return rf"\\{pen.rng.choice(pen.language.words['server'])}\{share}"


def _iban(pen: Pen) -> str:
    country, account = _digits(pen.language.forms.account, pen.rng).split()
    # ISO 13616: the check digits make the rearranged number 1 modulo 97.
    digits = "".join(str(int(sign, 36)) for sign in f"{account}{country}00")
    number = f"{country}{98 - int(digits) % 97:02d}{account}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def _date(pen: Pen, days: int) -> str:
    """The day that is `days` from now, by its numbers or in full."""
    day = pen.moment + timedelta(days=days)
    if pen.rng.random() < 0.3:
        return day.strftime("%d/%m")
    return pen.language.dated(pen.language.forms.plain_date, day)


def _hour(pen: Pen) -> str:
    """A full hour that is still to come on the day, while the office is open."""
    return str(pen.rng.randrange(min(max(pen.moment.hour + 1, 9), 17), 19))


def _file(pen: Pen) -> str:
    stem = pen.rng.choice(pen.language.words["module"])
    extension = pen.rng.choice(("xlsx", "xlsm", "docx"))
    return f"{stem}_{pen.moment.year}_v{pen.rng.randrange(1, 12)}.{extension}"


# What words.txt cannot say: values that depend on the moment, on another value or on arithmetic.
_SLOTS: dict[str, Callable[[Pen], str]] = {
    "ip": _ip,
    "path": _path,
    "iban": _iban,
    "date": lambda pen: _date(pen, pen.rng.randrange(2, 40)),
    "past": lambda pen: _date(pen, -pen.rng.randrange(2, 16)),
    "hour": _hour,
    "file": _file,
    "person": lambda pen: full_name(pen.language, pen.rng),
    "login": lambda pen: mailbox_name(full_name(pen.language, pen.rng)),
    "phone": lambda pen: phone(pen.language, pen.rng),
    "year": lambda pen: str(pen.moment.year),
}
