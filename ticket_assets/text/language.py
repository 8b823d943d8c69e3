"""The language a ticket is written in, among those the desk receives."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import islice

from ticket_assets.text.languages import words_of

_MIN_LETTERS = 12
_MAX_CHARACTERS = 4_000
_SHORT = 80
"""Characters up to which known words tell the language better than n-grams do."""
# Codes, addresses, paths and placeholders say nothing about the language and a lot of n-grams.
_NOT_PROSE = re.compile(
    r"\[[A-Z_]+\]|(?<![^\s\]])[^\s0-9@\\/_=<>{}]*+[0-9@\\/_=<>{}]\S*",
)
# Quoted messages of programs, which have a language of their own.
_QUOTED = re.compile('"[^"\\n]{3,200}"|«[^«»\\n]{3,200}»|“[^“”\\n]{3,200}”|„[^„“”\\n]{3,200}[“”]')


def detect_language(text: str, allowed: Sequence[str]) -> str:
    """The most likely of the `allowed` languages (ISO 639-1 codes, the main one first).

    What stands in quotes counts only where there is nothing else. The words of a line tell its
    language where the language files know them. `allowed[0]` when none is known and the text holds
    fewer than 12 letters of prose, or nothing the detector recognises: the guess would be worse
    than the desk's main language. The start of a long text decides (4,000 characters).
    Deterministic; the n-gram model is part of the `eldc` package.
    """
    if len(allowed) == 1:
        return allowed[0]
    start = text[:_MAX_CHARACTERS]
    prose = _NOT_PROSE.sub(" ", _QUOTED.sub(" ", start).lower())
    if not re.search(r"[^\W\d_]{2}", prose):
        prose = _NOT_PROSE.sub(" ", start.lower())
    if len(prose) <= _SHORT and (likely := _by_words(prose, tuple(allowed))):
        if len(likely) == 1 or allowed[0] in likely:
            return likely[0]
        language = _detector(tuple(allowed))(prose)
        return language if language in likely else likely[0]
    if len(list(islice(filter(str.isalpha, prose), _MIN_LETTERS))) < _MIN_LETTERS:
        return allowed[0]
    language = _detector(tuple(allowed))(prose)
    return language if language in allowed else allowed[0]


def _by_words(prose: str, allowed: tuple[str, ...]) -> list[str]:
    """The languages that know most of the words, in their order; none if none knows any."""
    words = set(re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", _plain(prose)))
    counts = [len(words & _known_words(language)) for language in allowed]
    return [
        language
        for language, count in zip(allowed, counts, strict=True)
        if count and count == max(counts)
    ]


@functools.cache
def _known_words(language: str) -> frozenset[str]:
    words = words_of(language)
    return frozenset(map(_plain, words.request_words + words.stopwords + words.turning_words))


def _plain(text: str) -> str:
    """Without accents, which many leave out, or write as "ae" for "ä"."""
    letters = unicodedata.normalize("NFD", text.replace("ß", "ss"))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub("([aou])e", r"\1", plain)


@functools.lru_cache(maxsize=8)
def _detector(allowed: tuple[str, ...]) -> Callable[[str], str]:
    import eldc

    eldc.init()
    detector = eldc.instance()
    detector.set_languages(list(allowed))
    detect: Callable[[str], str] = detector.detect
    return detect
