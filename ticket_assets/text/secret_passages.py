"""Picks the passages of a text in which a secret may be stated, for `secrets_in_context`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from ticket_assets.text.said_secrets import (
    is_unknown_word,
    probable_words,
    secret_places,
    word_class,
    word_form,
    word_spans,
)
from ticket_assets.text.stated_secrets import Span, is_product

_PROBABLE = 0.02
"""What `said_secrets` finds at least so likely is looked at again."""
_NEAR = 14  # words between the name of a secret, or of what it opens, and an unknown word
_SHORT_TEXT = 38  # words; in it an unknown word counts wherever it stands
_CONTEXT = 20  # words before and after one that counts
_LONGEST = 40  # words from the first to the last that counts, so that an encoder takes the passage
_CODE = re.compile(r"[0-9]{3,}|[0-9]+(?:[\-./][0-9]+)+")
_MOST_WORDS = 2_000  # that count in one text
# "Desk4!Light", "Kanzlei2020", "Juin_pluie": somebody has chosen it, whatever the text speaks of.
_CHOSEN = re.compile(
    r"[^\W_][!$%&#@+*?][^\W_]|[!$%#*@]$|^[^\W\d_]{4,20}[0-9]{1,4}$|[^\W\d_]_[^\W_]"
)

_CATEGORIES = "number", "mixed", "sign", "digits", "joint", "capitals", "word"
_CLASSES = "other", "known", "mixed", "number", "perhaps remark"


# A placeholder, a path, an address on the Web, a number in hexadecimal, an identifier, a file.
_NOT_READ = re.compile(
    r"\[|\\|/|[A-Za-z]:\\|0[xX]|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}|\S*(?:://|\[[A-Z_]+\])"
    r"|\S+\.(?i:docx?|xls[xm]?|pptx?|pdf|zip|csv|txt|log|exe|msi|jpe?g|png|xml|json|js|py)$"
)


@functools.lru_cache(maxsize=50_000)
def _is_read(word: str) -> bool:
    """Whether a word can be a secret: far more than those for which a passage is looked at."""
    return (
        (len(word) > 1 or word.isdigit())
        and any(map(str.isalnum, word))
        and not _NOT_READ.match(word)
        and not is_product(word)
    )


class Passage(NamedTuple):
    """A part of a text with words around those that may be secrets."""

    start: int
    end: int
    words: list[Span]
    """Of the words that may be secrets; places in the whole text."""
    is_about_secrets: bool
    """Whether the name of a secret, or a word about what secrets open, is in it."""


def secret_passages(text: str) -> list[Passage]:
    """The passages of `text` in which a word may be a secret, in order; most texts have none."""
    spans = [_without_sign(text, *span) for span in word_spans(text)]
    places = secret_places(text, spans)
    counting = list(_counting(text, spans, places))[:_MOST_WORDS]
    passages: list[tuple[int, int]] = []
    for at in counting:
        if passages and at - passages[-1][0] <= _LONGEST:
            passages[-1] = passages[-1][0], at
        else:
            passages.append((at, at))
    return [
        _passage(text, spans, max(first - _CONTEXT, 0), last + _CONTEXT, places)
        for first, last in passages
    ]


def _without_sign(text: str, start: int, end: int) -> Span:
    """A word without what Spanish, Markdown or quotes put before it."""
    return (start + 1, end) if end - start > 1 and text[start] in "¿¡*'’`" else (start, end)


def _passage(
    text: str, spans: Sequence[Span], first: int, last: int, places: Sequence[int]
) -> Passage:
    within = spans[first : last + 1]
    words = [(start, end) for start, end in within if _is_read(text[start:end])]
    is_about_secrets = any(first <= place <= last for place in places)
    return Passage(within[0][0], within[-1][1], words, is_about_secrets)


def _counting(text: str, spans: Sequence[Span], places: Sequence[int]) -> Iterator[int]:
    """Positions in `spans` of the words for which a passage is looked at."""
    probable = {
        word.start for word, probability in probable_words(text) if probability >= _PROBABLE
    }
    is_short = len(spans) <= _SHORT_TEXT
    near = set(chain.from_iterable(range(place - _NEAR, place + _NEAR + 1) for place in places))
    for at, (start, end) in enumerate(spans):
        word = text[start:end]
        if start in probable or (
            (is_unknown_word(word) or _CODE.fullmatch(word))
            and (is_short or at in near or _CHOSEN.search(word))
        ):
            yield at


FEATURES = (
    *(f"category {category}" for category in _CATEGORIES),
    "capitalised",
    *(f"class {name}" for name in _CLASSES),
    "length",
    "rarity",
)
"""What `secrets_in_context` knows of a word's form, in the order of `features_of`."""


def features_of(word: str) -> list[float]:
    """The `FEATURES` of a word."""
    form = word_form(word)
    name = word_class(word)
    return [
        *(float(form.category == category) for category in _CATEGORIES),
        float(form.is_capitalised),
        *(float(name == entry) for entry in _CLASSES),
        min(len(word), 20) / 10,
        float(form.rarity) / 5,
    ]
