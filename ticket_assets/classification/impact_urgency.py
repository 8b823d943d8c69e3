"""Impact and urgency as a ticket words them: who is affected, and how long it can wait."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

FEATURES = (
    "impact_person",
    "impact_team",
    "impact_site",
    "urgency_low",
    "urgency_high",
    "impact_times_urgency",
)
"""Columns of `impact_urgency`. The product is that of ITIL's matrix: the widest impact named (1 to
3; 1, a person, where none is named) times the urgency (-1, 0 or 1), divided by 3."""
NEGATION_REACH = 3
"""Most words from a negation to the negated one: "ce n'est pas vraiment très urgent"."""
_WORD = re.compile(r"\w+")
_LOW, _HIGH, _PRODUCT = (
    FEATURES.index(name) for name in ("urgency_low", "urgency_high", "impact_times_urgency")
)


@dataclass(frozen=True)
class _Lexicon:
    """Phrases by their first word, the longest first, each with the column it sets."""

    phrases: dict[str, list[tuple[tuple[str, ...], int]]]
    negations: frozenset[str]


def impact_urgency(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The features of each text, float32 of shape (len(texts), len(FEATURES)); 0 if not named."""
    lexicon = _lexicon()
    features = np.zeros((len(texts), len(FEATURES)), np.float32)
    for row, text in enumerate(texts):
        columns = list(_named_columns(_WORD.findall(text.lower()), lexicon))
        features[row, columns] = 1
    widest = np.where(features[:, 2] > 0, 3, np.where(features[:, 1] > 0, 2, 1))
    features[:, _PRODUCT] = widest * (features[:, _HIGH] - features[:, _LOW]) / 3
    return features


def _named_columns(words: Sequence[str], lexicon: _Lexicon) -> Iterable[int]:
    position = 0
    while position < len(words):
        length = 1
        for phrase, column in lexicon.phrases.get(words[position], ()):
            if tuple(words[position : position + len(phrase)]) == phrase:
                preceding = words[max(0, position - NEGATION_REACH) : position]
                negated = column == _HIGH and not lexicon.negations.isdisjoint(preceding)
                yield _LOW if negated else column
                length = len(phrase)
                break
        position += length


@cache
def _lexicon() -> _Lexicon:
    import yaml

    text = (
        resources.files("ticket_assets.classification")
        .joinpath("impact_urgency.yaml")
        .read_text("utf-8")
    )
    content = yaml.safe_load(text)
    phrases: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    for kind in ("impact", "urgency"):
        for level, languages in content[kind].items():
            column = FEATURES.index(f"{kind}_{level}")
            for phrase in (phrase for listed in languages.values() for phrase in listed):
                words = tuple(_WORD.findall(phrase.lower()))
                phrases.setdefault(words[0], []).append((words, column))
    for listed in phrases.values():
        listed.sort(key=lambda entry: -len(entry[0]))
    return _Lexicon(phrases, frozenset(content["negations"]))
