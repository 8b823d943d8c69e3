"""Makes the weights and words of ticket_assets/text/said_secrets.py from the examples here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import yaml

from ticket_assets.text.said_secrets import (
    ORDINARY_WORDS,
    WEIGHTS,
    Feature,
    candidates,
    features,
    plain_words,
)
from ticket_assets.text.stated_secrets import Span

EXAMPLES = Path(__file__).with_name("said_secrets.yaml")
_INVERSE_REGULARISATION = 3.0
_WEIGHT_OF_ORDINARY = 3
"""Of the texts that were written because they look like secrets."""
_LEAST_WORDS = 3
"""With a feature; rarer ones are of one example."""
_LEAST_WEIGHT = 0.1
"""Without the smaller ones, two thirds of all, as many secrets were found in texts not learnt from
(leaving one source of examples out after the other)."""


def weights() -> dict[Feature, float]:
    """Of a logistic regression that tells secret words from others near a secret's name.

    Deterministic, in seconds. `("bias", ("bias",))` is its intercept.
    """
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    examples = list(_examples())
    counts = Counter(feature for described, *_ in examples for feature in described)
    columns = {
        feature: column
        for column, feature in enumerate(sorted(f for f, n in counts.items() if n >= _LEAST_WORDS))
    }
    rows = [
        sorted(columns[feature] for feature in described if feature in columns)
        for described, *_ in examples
    ]
    ends = np.cumsum([0, *map(len, rows)])
    indices = np.concatenate([np.array(row, dtype=np.int64) for row in rows])
    matrix = csr_matrix((np.ones(len(indices)), indices, ends), shape=(len(rows), len(columns)))
    model = LogisticRegression(
        C=_INVERSE_REGULARISATION, solver="liblinear", random_state=0, max_iter=1_000
    ).fit(
        matrix,
        [is_secret for _, is_secret, _ in examples],
        sample_weight=[_WEIGHT_OF_ORDINARY if is_ordinary else 1 for *_, is_ordinary in examples],
    )
    large = {
        feature: round(float(model.coef_[0, column]), 2)
        for feature, column in columns.items()
        if abs(model.coef_[0, column]) >= _LEAST_WEIGHT
    }
    return {("bias", ("bias",)): round(float(model.intercept_[0]), 2)} | large


def ordinary_words() -> Counter[str]:
    """The words of all examples that are no secrets, and in how many of them each is."""
    texts = yaml.safe_load(EXAMPLES.read_text("utf-8"))
    words = plain_words(" ".join(texts.pop("words")))
    in_texts = Counter(
        word
        for marked in sorted(set(chain.from_iterable(texts.values())))
        for word in plain_words(_SECRET.sub(" ", marked))
    )
    return in_texts + Counter(dict.fromkeys(words, 2))


def _examples() -> Iterator[tuple[tuple[Feature, ...], bool, bool]]:
    """Features, whether it is a secret, and whether it is of the ordinary texts.

    Each kind of word once: what is ordinary in a thousand texts is no likelier for it. A word that
    one text alone has is learnt as unknown there, as the words of other texts are.
    """
    texts = yaml.safe_load(EXAMPLES.read_text("utf-8"))
    of_one_text = {word for word, count in ordinary_words().items() if count == 1}
    del texts["words"]
    seen: set[tuple[tuple[Feature, ...], bool]] = set()
    marked_texts = [(group, marked) for group, examples in texts.items() for marked in examples]
    for group, marked in marked_texts:
        text, spans = unmarked(marked)
        unknown = of_one_text & plain_words(_SECRET.sub(" ", marked))
        for candidate in candidates(text, unknown=unknown):
            example = tuple(features(candidate)), is_of(candidate.start, candidate.end, spans)
            if example not in seen:
                seen.add(example)
                yield *example, group == "ordinary"


_SECRET = re.compile("⟦.*?⟧", re.DOTALL)


def unmarked(marked: str) -> tuple[str, list[Span]]:
    """A text without its ⟦⟧, and where the secrets are that those stand around."""
    pieces = re.split("[⟦⟧]", marked)
    ends = np.cumsum([0, *map(len, pieces)]).tolist()
    return "".join(pieces), list(zip(ends[1:-1:2], ends[2::2], strict=True))


def is_of(start: int, end: int, secrets: Sequence[Span]) -> bool:
    """Whether a word from `start` to `end` is a secret or a part of one."""
    return any(start < last and end > first for first, last in secrets)


def write() -> None:
    """Writes the files of words and of weights, which depend on the words."""
    ORDINARY_WORDS.write_text("".join(f"{word}\n" for word in sorted(ordinary_words())), "utf-8")
    lines = (
        "\t".join((template, *values, str(weight)))
        for (template, values), weight in weights().items()
    )
    WEIGHTS.write_text("".join(f"{line}\n" for line in lines), "utf-8")


if __name__ == "__main__":
    write()
