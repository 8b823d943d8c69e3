"""What becomes of senseless, foreign and off-topic texts, and of ordinary tickets beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from random import Random
from string import ascii_lowercase

import numpy as np
import pandas as pd

from benchmarks.drift import DEFAULTS, Encode, Mail
from benchmarks.table import Line
from ticket_assets.classification.familiarity import SENTENCES, Familiarity
from ticket_assets.classification.features import Booleans, Floats, Integers
from ticket_assets.classification.sorting import review_reasons
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet, text_groups
from ticket_assets.sample.material import languages
from ticket_assets.sample.wording import Pen
from ticket_assets.text.cleaning import clean_tickets
from ticket_assets.text.wordings import wordings

PART = "unfamiliar"
IN_REVIEW = 0.98
"""Least share of texts that are no requests which a person sees."""
FALSE_ALARMS = 0.02
"""Largest share of ordinary tickets that count as unlike those learnt."""
NEW_WORDINGS = 0.1
KNOWN_WORDINGS = 0.25
"""Shares of the sample that are not learnt: whole wordings, and tickets of the other wordings."""
NEVER_LEARNT = 0.03
"""Largest share that is automatic of the tickets of a category that nobody has labelled."""
LEAST_SURE_SHARES = (0.0, 0.05, 0.1, 0.2)
LEAST_LEFT_OUT = 30
_MOMENT = datetime(2026, 3, 2, 9, tzinfo=UTC)
_VOWELS = "aeiouy"
_SHORT_TEXTS = (
    ".", "?", "!!!", "-", "ok", "OK merci", "test", "Test 123", "oui", "non", "yes", "no",
    "hello", "salut", "thanks", "merci", "re", "fyi", "pour info", "voir ci-joint", "see attached",
    "cf. pj", "👍", ":-)", "n/a", "xxx", "(vide)", "rien", "nothing", "euh", "hm", "a", "…",
)  # fmt: skip

Writer = Callable[[Random], str]


@dataclass(frozen=True)
class Verdicts:
    """What becomes of the texts of one kind."""

    texts: int
    reasons: Mapping[str, int]
    """Why a person sees them; those without a reason are automatic."""

    @property
    def in_review(self) -> float:
        return sum(self.reasons.values()) / self.texts

    @property
    def unfamiliar(self) -> float:
        """The share that counts as unlike the tickets that were learnt, whatever its label."""
        return sum(count for name, count in self.reasons.items() if name in SENTENCES) / self.texts


def texts_of_kinds(count: int, tickets: pd.DataFrame, seed: int = 0) -> dict[str, list[str]]:
    """By kind the same number of texts that are no requests, `count` in all or a few more.

    Args:
        tickets: text and language of a desk's tickets; word salad and repetitions are made of
            their words.
    """
    rng = Random(seed)  # noqa: S311
    words = [words for text in tickets["text"] if (words := text.split())]
    writers = _writers(words, set(tickets["language"]))
    each = -(-count // len(writers))
    return {kind: [write(rng) for _ in range(each)] for kind, write in writers.items()}


def judged(trained: TrainedClassifier, tickets: pd.DataFrame, vectors: Floats) -> Verdicts:
    """The product's decisions on these tickets, as in `TrainingSet`."""
    return Verdicts(len(tickets), Counter(_reasons(trained, tickets, vectors).dropna()))


def _reasons(trained: TrainedClassifier, tickets: pd.DataFrame, vectors: Floats) -> pd.Series:
    """Why a person sees each ticket; None for the automatic ones."""
    classifier = trained.classifier
    familiarity = Familiarity.of(trained.reference, trained.vocabulary, classifier.space)
    unfamiliar = familiarity.reasons(tickets, vectors)
    predicted = classifier.predict(tickets, vectors, reviewed=unfamiliar.notna().to_numpy())
    return review_reasons(predicted, classifier, unfamiliar)


def verdicts_on(
    mail: Mail, groups: Integers, encode: Encode, count: int = 2_000, seed: int = 0
) -> tuple[dict[str, Verdicts], dict[str, Verdicts]]:
    """Verdicts on texts that are no requests, by kind, and on ordinary tickets not learnt.

    Args:
        mail: the tickets of a desk.
        groups: the number of each ticket's wording.
    """
    new, known = _put_aside(groups, seed)
    learnt = mail.rows(np.flatnonzero(~new & ~known))
    training_set = TrainingSet(learnt.tickets.assign(priority=None), learnt.vectors, "benchmark")
    trained = train(training_set, TrainingOptions())
    strange = {
        kind: judged(trained, tickets, encode(tickets["text"].tolist()))
        for kind, texts in texts_of_kinds(count, learnt.tickets, seed).items()
        for tickets in [as_tickets(texts)]
    }
    ordinary = {
        name: judged(trained, part.tickets, part.vectors)
        for name, rows in {"in wordings learnt": known, "in new wordings": new}.items()
        for part in [mail.rows(np.flatnonzero(rows))]
    }
    return strange, ordinary


@dataclass(frozen=True)
class NeverLearnt:
    """Shares that are automatic, over desks of which one category each is left out."""

    left_out: float
    """Of the tickets of the category that was never learnt."""
    ordinary: float
    in_new_wordings: float
    """Of the ordinary tickets."""


def never_learnt(
    mail: Mail, groups: Integers, shares: Sequence[float] = LEAST_SURE_SHARES, seed: int = 0
) -> dict[float, NeverLearnt]:
    """By the least sure share that goes to a person, what becomes of a category without labels.

    Each category of at least `LEAST_LEFT_OUT` tickets is left out once. The tickets not learnt are
    those of `verdicts_on`.
    """
    new, known = _put_aside(groups, seed)
    counts = mail.tickets["category"].value_counts()
    found: dict[float, list[tuple[Booleans, Booleans, Booleans]]] = {s: [] for s in shares}
    for category in counts.index[counts >= LEAST_LEFT_OUT]:
        left_out = (mail.tickets["category"] == category).to_numpy()
        learnt = mail.rows(np.flatnonzero(~new & ~known & ~left_out))
        asked = np.flatnonzero(new | known | left_out)
        training_set = TrainingSet(learnt.tickets.assign(priority=None), learnt.vectors, PART)
        for share, parts in found.items():
            trained = train(training_set, TrainingOptions(least_sure_share=share))
            part = mail.rows(asked)
            automatic = np.array(_reasons(trained, part.tickets, part.vectors).isna())
            parts.append((automatic, left_out[asked], new[asked]))
    shown = {}
    for share, parts in found.items():
        automatic, is_left_out, is_new = map(np.concatenate, zip(*parts, strict=True))
        shown[share] = NeverLearnt(
            *(
                float(automatic[rows].mean())
                for rows in (is_left_out, ~is_left_out, ~is_left_out & is_new)
            )
        )
    return shown


def never_learnt_lines(found: Mapping[float, NeverLearnt]) -> Iterator[Line]:
    """A line per share; the default's beside what is wanted."""
    for share, automatic in found.items():
        is_default = share == TrainingOptions().least_sure_share
        yield Line(
            PART,
            f"least sure {share:.0%} to a person: automatic of a category never learnt (of ordinary"
            " tickets, in new wordings)",
            f"{automatic.left_out:.1%} ({automatic.ordinary:.1%}, {automatic.in_new_wordings:.1%})",
            wanted=f"≤ {NEVER_LEARNT:.0%}" if is_default else "",
            met=automatic.left_out <= NEVER_LEARNT if is_default else None,
        )


def wordings_of(tickets: pd.DataFrame) -> Integers:
    """The number of each ticket's wording; tickets with text, tokens and category."""
    texts, tokens = tickets["text"].tolist(), tickets["tokens"].tolist()
    templates = pd.factorize(np.array(text_groups(texts, tokens), dtype=object))[0]
    return wordings(templates, tokens, tickets["category"].tolist())


def unfamiliar_lines(
    strange: Mapping[str, Verdicts], ordinary: Mapping[str, Verdicts]
) -> Iterator[Line]:
    """A line per kind, and their totals beside what is wanted of them."""
    for kind, verdicts in {**strange, "all kinds": _total(strange.values())}.items():
        yield Line(
            PART,
            f"{kind}: {verdicts.texts:,} texts, in review",
            f"{verdicts.in_review:.1%} ({_counts(verdicts)})",
            wanted=f"≥ {IN_REVIEW:.0%}" if kind not in strange else "",
            met=verdicts.in_review >= IN_REVIEW if kind not in strange else None,
        )
    for name, verdicts in {**ordinary, "all": _total(ordinary.values())}.items():
        yield Line(
            PART,
            f"ordinary tickets, {name}: {verdicts.texts:,}, unlike those learnt",
            f"{verdicts.unfamiliar:.1%} ({_counts(verdicts)})",
            wanted=f"< {FALSE_ALARMS:.0%}",
            met=verdicts.unfamiliar < FALSE_ALARMS,
        )


def as_tickets(texts: Sequence[str]) -> pd.DataFrame:
    """The texts as the product cleans mails, a first line before others as the subject."""
    parts = [text.partition("\n") for text in texts]
    raw = pd.DataFrame(
        {
            "ticket_id": [f"{number:020x}" for number in range(len(texts))],
            "received_at": pd.Timestamp(_MOMENT).tz_localize(None),
            "kind": "request",
            "subject": [first for first, _, _ in parts],
            "body_text": [body for _, _, body in parts],
            "body_html": None,
            "sender_name": None,
        }
    )
    return clean_tickets(
        raw, languages=DEFAULTS.languages, phone_regions=DEFAULTS.phone_regions
    ).tickets


def _put_aside(groups: Integers, seed: int) -> tuple[Booleans, Booleans]:
    """Which tickets are not learnt: all of some wordings, and some of the other wordings."""
    random = np.random.default_rng(seed)
    new = np.isin(groups, random.permutation(np.unique(groups))[:: round(1 / NEW_WORDINGS)])
    return new, ~new & (random.random(len(groups)) < KNOWN_WORDINGS)


def _total(verdicts: Collection[Verdicts]) -> Verdicts:
    reasons = sum((Counter(each.reasons) for each in verdicts), Counter[str]())
    return Verdicts(sum(each.texts for each in verdicts), reasons)


def _counts(verdicts: Verdicts) -> str:
    counts = Counter(verdicts.reasons).most_common()
    return ", ".join(f"{name} {number}" for name, number in counts)


def _writers(words: Sequence[Sequence[str]], learnt: Collection[str]) -> dict[str, Writer]:
    import yaml

    content = resources.files("benchmarks").joinpath("unfamiliar.yaml").read_text("utf-8")
    kinds = yaml.safe_load(content)
    sentences = {
        kind: [lines for code, lines in parts.items() if code in learnt] or list(parts.values())
        for kind, parts in kinds["off_topic"].items()
    }
    for kind, parts in kinds["foreign"].items():
        sentences[kind] = [lines for code, lines in parts.items() if code not in learnt]
    return {
        "random letters": _random_letters,
        "words that do not exist": _random_syllables,
        "numbers": _numbers,
        "nearly empty": lambda rng: rng.choice(_SHORT_TEXTS),
        "the same again and again": partial(_repetition, words),
        "the desk's words at random": partial(_word_salad, words),
        "words of two tickets, mixed": partial(_mixed_tickets, words),
        **{kind: partial(_sentences, parts) for kind, parts in sentences.items()},
    }


def _sentences(languages_of_kind: Sequence[Sequence[str]], rng: Random) -> str:
    sentences = rng.choice(languages_of_kind)
    pen = Pen(languages()["fr"], _MOMENT, rng)
    chosen = rng.sample(sentences, rng.randrange(2, min(6, len(sentences)) + 1))
    first, *others = map(pen.fill, chosen)
    return f"{first}\n{' '.join(others)}" if rng.random() < 0.5 else " ".join([first, *others])


def _random_letters(rng: Random) -> str:
    lengths = [rng.randrange(1, 13) for _ in range(rng.randrange(1, 40))]
    return " ".join("".join(rng.choices(ascii_lowercase, k=length)) for length in lengths)


def _random_syllables(rng: Random) -> str:
    consonants = [letter for letter in ascii_lowercase if letter not in _VOWELS]
    words = [
        "".join(rng.choice(consonants) + rng.choice(_VOWELS) for _ in range(rng.randrange(1, 5)))
        for _ in range(rng.randrange(3, 40))
    ]
    return " ".join(words).capitalize() + "."


def _numbers(rng: Random) -> str:
    separator = rng.choice((" ", "\n", ", ", ";"))
    numbers = [rng.randrange(10 ** rng.randrange(1, 9)) for _ in range(rng.randrange(1, 30))]
    return separator.join(map(str, numbers))


def _repetition(texts: Sequence[Sequence[str]], rng: Random) -> str:
    words = rng.choice(texts)
    length = min(rng.randrange(1, 7), len(words))
    start = rng.randrange(len(words) - length + 1)
    times = int(10 ** rng.uniform(0.8, 3.3))
    return " ".join([*words[start : start + length]] * times)


def _word_salad(texts: Sequence[Sequence[str]], rng: Random) -> str:
    return " ".join(rng.choice(rng.choice(texts)) for _ in range(rng.randrange(5, 40)))


def _mixed_tickets(texts: Sequence[Sequence[str]], rng: Random) -> str:
    words = [word for text in rng.sample(texts, 2) for word in text]
    rng.shuffle(words)
    return " ".join(words)
