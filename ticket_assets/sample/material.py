"""What the sample mailbox is made from, read once from texts/: languages, mail clients, shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from random import Random
from typing import Any

VAGUE = "vague"
"""Heading of the situations from which nobody could tell the category."""

_NEIGHBOUR = re.compile(r"\s~(\w+)$")


@dataclass(frozen=True)
class Situation:
    """Something that happens to people, with the ways they put it."""

    name: str
    """The same in each language."""
    category: str
    subjects: tuple[str, ...]
    problems: tuple[str, ...]
    neighbour: str | None
    """Category that people give to it now and then, because it belongs there almost as well."""


@dataclass(frozen=True)
class Forms:
    """A language's forms.yaml, which explains its entries."""

    staff: int
    zones: dict[str, int]
    accents: bool
    weekdays: list[str]
    short_months: list[str]
    plain_date: str
    header_date: str
    attribution: str
    short_attribution: str
    header_labels: list[str]
    quote_headings: dict[str, str]
    client_lines: dict[str, str]
    forwarded_subjects: list[str]
    automatic_subject: str
    desk_names: list[str]
    answer: list[str]
    phones: list[str]
    international: str
    phone_line: str
    phone_lines: str
    account: str
    attachments: dict[str, str]
    shorthand: dict[str, str]


@dataclass(frozen=True)
class Language:
    """All text of one language; templates hold `[a|b]` choices and `{name}` slots."""

    code: str
    everyday: dict[str, tuple[Situation, ...]]
    """Situations by category, with the vague ones under `VAGUE`."""
    rollout: dict[str, tuple[Situation, ...]]
    """Situations by category that only the new products bring."""
    topics: dict[str, tuple[str, ...]]
    """Sentences that name the field of a problem, by category."""
    phrases: dict[str, tuple[str, ...]]
    words: dict[str, tuple[str, ...]]
    forms: Forms

    def dated(self, form: str, moment: datetime, **values: str) -> str:
        """`form` with the date of `moment` as people and mail clients write it.

        The names of days and months are the language's; strftime's would follow the machine.
        """
        return form.format(
            moment=moment,
            weekday=self.forms.weekdays[moment.weekday()],
            month=self.words["month"][moment.month - 1],
            short_month=self.forms.short_months[moment.month - 1],
            **values,
        )


@dataclass(frozen=True)
class HtmlStyle:
    """Templates of html.yaml."""

    page: str
    paragraph: str
    signature: str
    quote: str
    header_block: bool


@dataclass(frozen=True)
class MailClient:
    """An entry of clients.yaml, which explains it."""

    name: str
    share: int
    structures: list[str]
    charsets: list[str]
    encodings: list[str]
    header_encoding: str
    boundary: str
    message_id: str
    in_angles: bool
    quote_heading: str
    html: HtmlStyle
    product: list[str] = field(default_factory=list)
    signature_mark: str = ""
    flowed: bool = False
    short_attribution: bool = False
    no_break_spaces: bool = False
    encoded_file_names: bool = False


@dataclass(frozen=True)
class Mix:
    """What comes in on an average day of a period, as shares of its tickets."""

    languages: dict[str, float]
    categories: dict[str, float]
    rollout: float
    """Tickets about the new products."""


@dataclass(frozen=True)
class Shares:
    """mailbox.yaml, which explains its entries."""

    quiet: Mix
    drifted: Mix
    impacts: dict[str, float]
    urgencies: dict[str, dict[str, float]]
    priorities: dict[str, dict[str, str]]


def draw(shares: Mapping[str, float], rng: Random) -> str:
    """One of the keys, each with the chance its share gives it."""
    return rng.choices(list(shares), list(shares.values()))[0]


@cache
def languages() -> dict[str, Language]:
    """The languages that people write in, by their code."""
    return {code: _language(code) for code in shares().quiet.languages}


@cache
def clients() -> dict[str, MailClient]:
    """The mail clients by name."""
    styles = {name: HtmlStyle(**style) for name, style in entries("html.yaml").items()}
    return {
        name: MailClient(**{**client, "name": name, "html": styles[client["html"]]})
        for name, client in entries("clients.yaml").items()
    }


@cache
def shares() -> Shares:
    """How often what comes in."""
    mixes = entries("mailbox.yaml")
    return Shares(**{**mixes, **{name: Mix(**mixes[name]) for name in ("quiet", "drifted")}})


@cache
def entries(file: str) -> dict[str, Any]:
    """The content of a YAML file of texts/."""
    import yaml

    content: dict[str, Any] = yaml.safe_load(_text(file))
    return content


def _language(code: str) -> Language:
    return Language(
        code=code,
        everyday=_situations(f"{code}/scenarios.txt"),
        rollout=_situations(f"{code}/rollout.txt"),
        topics=_lines(f"{code}/topics.txt"),
        phrases=_lines(f"{code}/phrases.txt"),
        words={
            name: tuple(value for line in lines for value in line.split(" | "))
            for file in ("words.txt", f"{code}/words.txt")
            for name, lines in _lines(file).items()
        },
        forms=Forms(**entries(f"{code}/forms.yaml")),
    )


def _situations(file: str) -> dict[str, tuple[Situation, ...]]:
    kind = PurePosixPath(file).stem
    return {
        category: tuple(_blocks(kind, category, lines)) for category, lines in _lines(file).items()
    }


def _blocks(kind: str, category: str, lines: tuple[str, ...]) -> list[Situation]:
    blocks: list[list[str]] = []
    for line in lines:
        if line.startswith("  "):
            blocks[-1].append(line.strip())
        else:
            blocks.append([line])
    return [
        Situation(
            name=f"{kind}/{category}/{number}",
            category=category,
            subjects=tuple(_NEIGHBOUR.sub("", heading).split(" | ")),
            problems=tuple(problems),
            neighbour=neighbour[1] if (neighbour := _NEIGHBOUR.search(heading)) else None,
        )
        for number, (heading, *problems) in enumerate(blocks, 1)
    ]


def _lines(file: str) -> dict[str, tuple[str, ...]]:
    """The lines of each section of a text file, comments left out."""
    sections: dict[str, tuple[str, ...]] = {}
    for section in re.split(r"^== ", _text(file), flags=re.MULTILINE)[1:]:
        name, *lines = section.splitlines()
        sections[name] = tuple(line for line in lines if line.strip() and line[:2] != "# ")
    return sections


def _text(file: str) -> str:
    return resources.files(__package__).joinpath("texts", file).read_text("utf-8")
