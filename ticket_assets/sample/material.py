"""The text the sample mailbox is made from: what people report, around what phrases and words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

LANGUAGES = ("fr", "en")
VAGUE = "vague"
"""Heading of the situations from which nobody could tell the category."""

_NEIGHBOUR = re.compile(r"\s~(\w+)$")


@dataclass(frozen=True)
class Situation:
    """Something that happens to people, with the ways they put it."""

    category: str
    subjects: tuple[str, ...]
    problems: tuple[str, ...]
    neighbour: str | None
    """Category that people give to it now and then, because it belongs there almost as well."""


@dataclass(frozen=True)
class Material:
    """All text of one language; templates hold `[a|b]` choices and `{name}` slots."""

    language: str
    everyday: dict[str, tuple[Situation, ...]]
    """Situations by category, with the vague ones under `VAGUE`."""
    rollout: dict[str, tuple[Situation, ...]]
    """Situations by category that only the new products bring."""
    topics: dict[str, tuple[str, ...]]
    """Sentences that name the field of a problem, by category."""
    phrases: dict[str, tuple[str, ...]]
    words: dict[str, tuple[str, ...]]


@cache
def material(language: str) -> Material:
    """The packaged text of `language`, one of `LANGUAGES`."""
    words = {
        name: tuple(value for line in lines for value in line.strip().split(" | "))
        for file in ("words.txt", f"words_{language}.txt")
        for name, lines in _sections(file).items()
    }
    return Material(
        language=language,
        everyday=_situations(f"scenarios_{language}.txt"),
        rollout=_situations(f"rollout_{language}.txt"),
        topics=_lines(f"topics_{language}.txt"),
        phrases=_lines(f"phrases_{language}.txt"),
        words=words,
    )


def _situations(file: str) -> dict[str, tuple[Situation, ...]]:
    return {
        category: tuple(_blocks(category, lines)) for category, lines in _sections(file).items()
    }


def _lines(file: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(lines) for name, lines in _sections(file).items()}


def _blocks(category: str, lines: list[str]) -> list[Situation]:
    situations: list[Situation] = []
    heading, problems = "", list[str]()
    for line in [*lines, ""]:
        if line.startswith("  "):
            problems.append(line.strip())
            continue
        if problems:
            neighbour = _NEIGHBOUR.search(heading)
            situations.append(
                Situation(
                    category=category,
                    subjects=tuple(_NEIGHBOUR.sub("", heading).split(" | ")),
                    problems=tuple(problems),
                    neighbour=neighbour[1] if neighbour else None,
                )
            )
        heading, problems = line, []
    return situations


def _sections(file: str) -> dict[str, list[str]]:
    text = resources.files(__package__).joinpath("texts", file).read_text("utf-8")
    sections: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("== "):
            lines = sections[line[3:]] = []
        elif line.strip() and not line.startswith("# "):
            lines.append(line)
    return sections
