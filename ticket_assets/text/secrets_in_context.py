"""Finds stated secrets by what the words around them mean, where no rule and no word list does.

The lower half of an encoder, changed a little (LoRA, arXiv 2106.09685), reads the words of a
passage; a linear function of a word's state and form says how likely it is a secret. Learnt by
`make weights` from texts that state one and many that do not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ticket_assets.embedding.adapters import Adapters, Floats, from_arrays
from ticket_assets.text.said_secrets import ProbableWord, joined_spans
from ticket_assets.text.secret_passages import Passage, features_of, secret_passages
from ticket_assets.text.stated_secrets import Span

if TYPE_CHECKING:
    from ticket_assets.embedding.token_scores import ScoredTokens, TokenScores

WEIGHTS = Path(__file__).with_name("secrets_in_context.npz")
"""Made by `make weights`."""
MASKED_FROM, JOINED_FROM, EDGE_FROM, SUSPECTED_FROM = 0.6, 0.5, 0.1, 0.1
"""Probabilities. Of 260 passwords and 680 other texts of authors who knew nothing of what was
learnt, 13 stay and 10 texts are masked wrongly; the last finds 11 of the 13, and suspects 2 to 5 of
1,000 tickets that state none."""
_RARER_ELSEWHERE = 1.25
"""Log-odds by which a secret is less likely in a passage that speaks of none: half of the examples
with a secret are of that kind, and few tickets with one."""


class Weights(NamedTuple):
    """What `make weights` has learnt."""

    encoder: tuple[str, str]
    """Name and revision of the encoder that reads."""
    adapters: Adapters
    states: Floats
    """Of the last layer that is changed; shape (hidden size,)."""
    features: Floats
    """Shape (len(FEATURES),)."""
    bias: float


@functools.cache
def weights() -> Weights:
    """The weights of the package."""
    with np.load(WEIGHTS, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    name, revision = arrays.pop("encoder").tolist()
    bias = float(arrays.pop("bias"))
    features, states = (arrays.pop(name).astype(np.float32) for name in ("features", "states"))
    return Weights((name, revision), from_arrays(arrays), states, features, bias)


class SecretsInContext:
    """The model, with an encoder to read the passages of texts."""

    def __init__(self, reader: TokenScores) -> None:
        """A model that reads by `reader`, which has the `weights`."""
        self._reader = reader

    @property
    def encoder(self) -> str:
        """The name of the encoder that it reads with."""
        return self._reader.model.name

    @property
    def needs_conversion(self) -> bool:
        """Whether its first use here comes with a conversion of the encoder."""
        return self._reader.needs_conversion

    @property
    def converted(self) -> Path:
        """Folder of the converted files that it reads with."""
        return self._reader.converted

    def unload(self) -> None:
        """Frees the memory of the encoder; the next use loads it again."""
        self._reader.unload()

    def spans(
        self, texts: Sequence[str], passages: Sequence[Sequence[Passage]]
    ) -> list[list[Span]]:
        """What is to be masked in each of the texts, in order; `passages` are those of each."""
        return [
            _with_quotes(text, joined_spans(text, words, MASKED_FROM, JOINED_FROM, EDGE_FROM))
            for text, words in zip(texts, self.probable_words(texts, passages), strict=True)
        ]

    def are_suspicious(self, texts: Sequence[str]) -> list[bool]:
        """Whether each of the texts, masked, may still hold a secret."""
        return [
            any(probability >= SUSPECTED_FROM for *_, probability in words)
            for words in self.probable_words(texts, list(map(secret_passages, texts)))
        ]

    def probable_words(
        self, texts: Sequence[str], passages: Sequence[Sequence[Passage]]
    ) -> Iterator[list[ProbableWord]]:
        """The words in the passages of each text, in order, with their probabilities."""
        parts = [(text, part) for text, of in zip(texts, passages, strict=True) for part in of]
        read = iter(self._reader.of([text[part.start : part.end] for text, part in parts]))
        for text, of_text in zip(texts, passages, strict=True):
            probable: dict[Span, float] = {}
            for part in of_text:
                words, scores = _word_scores(next(read), part)
                for word, probability in zip(
                    words, _probabilities(text, part, words, scores), strict=True
                ):
                    # Two passages of a long text can hold the same word.
                    probable[word] = max(probability, probable.get(word, 0.0))
            yield [(start, end, probability) for (start, end), probability in probable.items()]


_QUOTED = re.compile(
    '«[ \u00a0\u202f]?(?P<a>[^«»\n]+?)[ \u00a0\u202f]?»|"(?P<b>[^"\n]+)"|“(?P<c>[^“”\n]+)”'
    "|„(?P<d>[^„“”\n]+)[“”]"
)
_LONGEST_QUOTE = 9  # words


def _with_quotes(text: str, spans: Iterator[Span]) -> list[Span]:
    """The spans in order; one that is inside short quotes with all that is quoted."""
    widened = list(spans)
    if not widened:
        return []
    quotes = [
        quote.span(quote.lastgroup or 0)
        for quote in _QUOTED.finditer(text)
        if len(quote.group().split()) <= _LONGEST_QUOTE
    ]
    return sorted(
        {
            next(((a, b) for a, b in quotes if a <= start and end <= b), (start, end))
            for start, end in widened
        }
    )


def _probabilities(
    text: str, passage: Passage, words: Sequence[Span], scores: Sequence[float]
) -> list[float]:
    if not words:
        return []
    learnt = weights()
    log_odds = (
        np.array(scores)
        + np.array([features_of(text[start:end]) for start, end in words]) @ learnt.features
        + learnt.bias
        - (0 if passage.is_about_secrets else _RARER_ELSEWHERE)
    )
    probabilities: list[float] = (1 / (1 + np.exp(-log_odds))).tolist()
    return probabilities


def _word_scores(tokens: ScoredTokens, passage: Passage) -> tuple[list[Span], list[float]]:
    """The words of a passage that its encoder has read, and the mean score of each one's tokens.

    A passage can be longer than what an encoder reads.
    """
    starts, ends = tokens.spans.T + passage.start
    words, scores = [], []
    for start, end in passage.words:
        of_word = tokens.scores[(starts < end) & (ends > start)]
        if len(of_word):
            words.append((start, end))
            scores.append(float(of_word.mean()))
    return words, scores
