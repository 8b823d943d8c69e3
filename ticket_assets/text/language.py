"""The language a ticket is written in, among those the desk receives."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from itertools import islice

_MIN_LETTERS = 12
_MAX_CHARACTERS = 4_000
# Codes, addresses, paths and placeholders say nothing about the language and a lot of n-grams.
_NOT_PROSE = re.compile(
    r"\[[A-Z_]+\]|(?<![^\s\]])[^\s0-9@\\/_=<>{}]*+[0-9@\\/_=<>{}]\S*",
)


def detect_language(text: str, allowed: Sequence[str]) -> str:
    """The most likely of the `allowed` languages (ISO 639-1 codes, the main one first).

    `allowed[0]` when the text holds fewer than 12 letters of prose, or nothing the detector
    recognises: the guess would be worse than the desk's main language. The start of a long text
    decides (4,000 characters). Deterministic; the n-gram model is part of the `eldc` package.
    """
    prose = _NOT_PROSE.sub(" ", text[:_MAX_CHARACTERS].lower())
    letters = islice(filter(str.isalpha, prose), _MIN_LETTERS)
    if len(allowed) == 1 or len(list(letters)) < _MIN_LETTERS:
        return allowed[0]
    language = _detector(tuple(allowed))(prose)
    return language if language in allowed else allowed[0]


@functools.lru_cache(maxsize=8)
def _detector(allowed: tuple[str, ...]) -> Callable[[str], str]:
    import eldc

    eldc.init()
    detector = eldc.instance()
    detector.set_languages(list(allowed))
    detect: Callable[[str], str] = detector.detect
    return detect
