"""False alarms of quiet weeks, shifts that are noticed, and precision estimated without labels.

Tickets of one desk are split by lot: the product trains on one part, and weeks are drawn from the
rest. They are judged as in life: each day by its own window and by its week so far.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon

from benchmarks.table import Line, at_least, at_most
from ticket_assets.classification.features import Booleans, Floats, Integers
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.drift.estimated_precision import precision_estimator
from ticket_assets.drift.out_of_sample import out_of_sample
from ticket_assets.drift.report import (
    CATEGORICAL,
    CATEGORY_SHARE,
    EMBEDDING,
    NEW_WORD,
    NUMERICAL,
    Comparison,
)
from ticket_assets.drift.thresholds import largest_shift, new_word_share
from ticket_assets.drift.window import WEEK_DAYS, Window, looks_at, windows_of
from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.parsing import parse_message
from ticket_assets.sample.mailbox import DRIFT_DAYS, generate
from ticket_assets.settings import Settings
from ticket_assets.text.cleaning import clean_tickets

Encode = Callable[[Sequence[str]], Floats]
Draw = Callable[[np.random.Generator, int], Integers]
"""A week of that many tickets, as rows of a pool."""

FIRST = date(2026, 3, 2)
MESSAGE_COLUMNS = ("kind", "subject", "body_text", "body_html", "sender_name")
NEW_NAME = "Orvanto"
MOST_TRAINING = 2_200
NEW_CATEGORIES = 4
REFERENCES = 4
SWAPPED = 600
AUTOMATIC = 500
LEAST_NOTICED = 0.95
DEFAULTS = Settings.model_construct()


class TooFewTickets(TicketAssetsError):  # noqa: N818 - named for what is lacking
    """A desk is too small for what is measured on it."""


@dataclass(frozen=True)
class Mail:
    """Tickets as in `TrainingSet`, each with a category, and their vectors."""

    tickets: pd.DataFrame
    vectors: Floats

    def rows(self, rows: Integers) -> Mail:
        return Mail(self.tickets.iloc[rows].reset_index(drop=True), self.vectors[rows])


@dataclass(frozen=True)
class Tries:
    """How often each figure is tried, and the tickets of a week."""

    quiet: int = 200
    drifted: int = 100
    windows: int = 200
    sizes: tuple[int, ...] = (200, 1000, 2000)


QUICK_TRIES = Tries(quiet=8, drifted=8, windows=20, sizes=(200,))


def sample_mail(messages: int, encode: Encode, days: int | None = None, seed: int = 7) -> Mail:
    """The requests of a quiet sample mailbox, with the categories that people give and the name of
    what has happened (`situation`); by default of 48 messages a day."""
    days = messages // 48 if days is None else days + DRIFT_DAYS
    # The drift of its last days stays out.
    first_drifted = FIRST - timedelta(days=DRIFT_DAYS - 1)
    mails = [
        mail
        for mail in generate(messages=messages, days=days, until=FIRST, seed=seed)
        if mail.group == "ticket" and mail.received_at.date() < first_drifted
    ]
    parsed = [parse_message(mail.content, "eml") for mail in mails]
    raw = pd.DataFrame(
        {
            "ticket_id": [f"{number:020x}" for number in range(len(mails))],
            "received_at": pd.to_datetime([m.received_at.replace(tzinfo=None) for m in mails]),
            **{column: [getattr(p, column) for p in parsed] for column in MESSAGE_COLUMNS},
        }
    )
    clean = clean_tickets(
        raw, languages=DEFAULTS.languages, phone_regions=DEFAULTS.phone_regions
    ).tickets
    given = pd.DataFrame(
        [(mail.category, mail.situation) for mail in mails],
        index=raw["ticket_id"],
        columns=["category", "situation"],
    )
    tickets = clean.join(given, on="ticket_id")
    return Mail(tickets, encode(tickets["text"].tolist()))


class Judge:
    """The verdicts of `Comparison` on any rows of a pool, without its 0.1 s a window.

    Tens of thousands of windows are judged here; the columns are coded once.
    """

    def __init__(self, comparison: Comparison, words: int, pool: pd.DataFrame) -> None:
        self._chance, self._words = comparison._chance, words
        reference = comparison._reference
        self._reference_rows = len(reference.table)
        self._measures: dict[str, Callable[[Integers], float]] = {}
        for metric in CATEGORICAL:
            names = pd.Index(sorted({*reference.table[metric], *pool[metric]}))
            codes, before = (names.get_indexer(t[metric]) for t in (pool, reference.table))
            shares = np.bincount(before, minlength=len(names)) / len(before)
            self._measures[metric] = partial(_share_distance, codes, shares)
            if metric == "category":
                self._measures[CATEGORY_SHARE] = partial(_category_share, codes, shares)
        for metric in NUMERICAL:
            values, before = pool[metric].to_numpy(float), reference.table[metric].to_numpy()
            points, codes = np.unique(np.append(values, before), return_inverse=True)
            steps = np.diff(points) / max(float(np.std(before)), 0.001)
            cumulated = np.cumsum(np.bincount(codes[len(values) :], minlength=len(points)))
            share = cumulated / len(before)
            self._measures[metric] = partial(_wasserstein, codes[: len(values)], share, steps)
        vectors = (np.stack(pool["vector"].tolist()) - comparison._centre) / comparison._spread
        self._measures[EMBEDDING] = partial(_mean_length, vectors - reference.centre)
        self._texts, self._unknown = pool["text_hash"].to_numpy(), pool["unknown_words"].to_numpy()

    def drifted(self, rows: Integers, window_days: int) -> list[str]:
        """The metrics that drift on a window of these rows."""
        looks = looks_at(window_days)
        floors = DEFAULTS.drift_distances
        drifted = [
            metric
            for metric, distance in self._measures.items()
            if distance(rows)
            >= max(floors[metric], self._chance[metric].threshold(len(rows), looks))
        ]
        _, first = np.unique(self._texts[rows], return_index=True)
        words = Counter(word for row in rows[first] for word in self._unknown[row])
        share = max(words.values(), default=0) / len(first)
        chance = new_word_share(self._words, self._reference_rows, len(first))
        return [*drifted, NEW_WORD] if share >= max(floors[NEW_WORD], chance) else drifted


def _share_distance(codes: Integers, shares: Floats, rows: Integers) -> float:
    now = np.bincount(codes[rows], minlength=len(shares)) / len(rows)
    return float(np.nan_to_num(jensenshannon(shares, now)))


def _category_share(codes: Integers, shares: Floats, rows: Integers) -> float:
    now = np.bincount(codes[rows], minlength=len(shares)) / len(rows)
    return float(largest_shift(shares, now[np.newaxis])[0])


def _wasserstein(codes: Integers, share: Floats, steps: Floats, rows: Integers) -> float:
    now = np.cumsum(np.bincount(codes[rows], minlength=len(share))) / len(rows)
    return float(np.abs(now - share)[:-1] @ steps)


def _mean_length(vectors: Floats, rows: Integers) -> float:
    return float(np.linalg.norm(vectors[rows].mean(axis=0)))


class Desk:
    """A champion trained on `learnt`, and how it judges new mail."""

    def __init__(self, learnt: Mail) -> None:
        self.learnt = learnt
        tickets = learnt.tickets.assign(priority=None)
        self.champion: TrainedClassifier = train(
            TrainingSet(tickets, learnt.vectors, "benchmark"), TrainingOptions()
        )
        self.comparison = Comparison(
            self.champion.reference,
            model_version="benchmark",
            floors=DEFAULTS.drift_distances,
            seed=0,
            vocabulary_words=len(self.champion.vocabulary),
        )

    def predicted(self, mail: Mail) -> pd.DataFrame:
        """The rows that the drift report reads, with the true category."""
        tickets = mail.tickets
        predicted = self.champion.classifier.predict(tickets, mail.vectors)
        read = tickets[["ticket_id", "language", "tokens"]].assign(
            text_hash=tickets["text"],
            character_count=tickets["text"].str.len(),
            category=predicted["category"],
            category_confidence=predicted["category_confidence"],
            decision=predicted["decision"],
            vector=list(mail.vectors),
            truth=tickets["category"],
        )
        return out_of_sample(read, self.champion)

    def judge(self, pool: pd.DataFrame) -> Judge:
        return Judge(self.comparison, len(self.champion.vocabulary), pool)


def noticed(judge: Judge, week: Integers) -> list[str]:
    """What drifts on the first day of a week that warns; nothing on a quiet week."""
    days = [FIRST + timedelta(days=number) for number in range(WEEK_DAYS)]
    counts = np.diff(np.linspace(0, len(week), WEEK_DAYS + 1).astype(int))
    received_on = np.repeat(np.array(days, dtype=object), counts)
    received = Counter(received_on.tolist())
    for day in days:
        drifted: list[str] = []
        for window in windows_of(received, day, DEFAULTS.drift_min_tickets):
            if window.tickets:
                is_in = _within(received_on, window)
                drifted += judge.drifted(week[is_in], window.days)
        if drifted:
            return sorted(set(drifted))
    return []


def _within(received_on: np.ndarray, window: Window) -> np.ndarray:
    return (received_on >= window.first_day) & (received_on <= window.last_day)


Case = tuple[Judge, Draw]


def drift_lines(mail: Mail, encode: Encode, tries: Tries, desk_name: str) -> Iterator[Line]:
    """The lines of one desk's table."""
    if len(mail.tickets) < 1000:
        raise TooFewTickets(f"Drift is measured on 1,000 tickets or more, not {len(mail.tickets)}.")
    random = np.random.default_rng(0)
    order = random.permutation(len(mail.tickets))
    cut = min(MOST_TRAINING, len(order) // 2)
    learnt, new = mail.rows(order[:cut]), mail.rows(order[cut:])
    desk = Desk(learnt)
    pool = desk.predicted(new)
    sizes = [size for size in tries.sizes if size <= len(pool)]
    # A reference is a sample itself: false alarms of one alone are not those of the next training.
    quiet = [(desk.judge(pool), _drawn(len(pool)))]
    for _ in range(REFERENCES - 1):
        order = random.permutation(len(mail.tickets))
        other = Desk(mail.rows(order[:cut]))
        rows = other.predicted(mail.rows(order[cut:]))
        quiet.append((other.judge(rows), _drawn(len(rows))))
    for size in sizes:
        share, metrics = _share_noticed(quiet, size, tries.quiet)
        figure = f"{desk_name}: quiet weeks of {size:,} tickets that warn{metrics}"
        yield at_most("drift", figure, share, 0.05)
    for name, cases in _shifts(new, desk, pool, encode):
        for size in sizes:
            share, metrics = _share_noticed(cases, size, tries.drifted)
            figure = f"{desk_name}: {name}, weeks of {size:,} tickets that warn{metrics}"
            yield at_least("drift", figure, share, LEAST_NOTICED)
    yield from _precision_lines(desk, pool, tries.windows, desk_name)


def _drawn(rows: int) -> Draw:
    return lambda random, size: random.choice(rows, size, replace=False)


def _mixed(is_drifted: Booleans, share: float) -> Draw:
    """Weeks of which `share` is drawn from those rows, again and again where they are too few."""
    parts = np.flatnonzero(~is_drifted), np.flatnonzero(is_drifted)

    def draw(random: np.random.Generator, size: int) -> Integers:
        counts = size - round(share * size), round(share * size)
        rows = [
            random.choice(part, count, replace=count > len(part))
            for part, count in zip(parts, counts, strict=True)
        ]
        return random.permutation(np.concatenate(rows))

    return draw


def _share_noticed(cases: Sequence[Case], size: int, tries: int) -> tuple[float, str]:
    """The share of weeks that warn, and the metrics that warned most, ready to be added."""
    metrics: Counter[str] = Counter()
    weeks = 0
    for number in range(tries):
        judge, draw = cases[number % len(cases)]
        drifted = noticed(judge, draw(np.random.default_rng(number), size))
        metrics.update(drifted)
        weeks += bool(drifted)
    most = ", ".join(f"{name} {count / tries:.0%}" for name, count in metrics.most_common(3))
    return weeks / tries, f" ({most})" if most else ""


def _shifts(
    new: Mail, desk: Desk, pool: pd.DataFrame, encode: Encode
) -> Iterator[tuple[str, list[Case]]]:
    """Each shift with the desks that meet it."""
    learnt = desk.learnt
    counts = learnt.tickets["category"].value_counts()
    share = 1.5 * counts.iloc[0] / len(learnt.tickets)
    is_largest = (pool["truth"] == counts.index[0]).to_numpy()
    yield f"largest category × 1.5, to {share:.0%}", [(desk.judge(pool), _mixed(is_largest, share))]
    named = _renamed(new.rows(np.arange(min(SWAPPED, len(new.tickets)))), learnt, encode)
    both = pd.concat([pool, desk.predicted(named)], ignore_index=True)
    is_named = np.arange(len(both)) >= len(pool)
    yield "one product renamed, 20 %", [(desk.judge(both), _mixed(is_named, 0.2))]
    languages = new.tickets["language"].value_counts(normalize=True)
    if len(languages) > 1 and languages.iloc[1] > 0.1:
        yield _language_shift(learnt, new, str(languages.index[1]))
    middle = max(0, len(counts) // 2 - NEW_CATEGORIES // 2)
    cases = []
    for category in counts.index[middle : middle + NEW_CATEGORIES]:
        unaware = Desk(learnt.rows(np.flatnonzero(learnt.tickets["category"] != category)))
        arriving = unaware.predicted(new)
        is_new = (arriving["truth"] == category).to_numpy()
        cases.append((unaware.judge(arriving), _mixed(is_new, 0.15)))
    yield "a new category, 15 %", cases


def _language_shift(learnt: Mail, new: Mail, language: str) -> tuple[str, list[Case]]:
    rows = np.flatnonzero(learnt.tickets["language"] == language)
    others = np.flatnonzero(learnt.tickets["language"] != language)
    desk = Desk(learnt.rows(np.sort(np.append(others, rows[: round(len(others) / 9)]))))
    pool = desk.predicted(new)
    is_language = (pool["language"] == language).to_numpy()
    case = desk.judge(pool), _mixed(is_language, 0.3)
    return f"language {language} from 10 to 30 %", [case]


def _renamed(mail: Mail, learnt: Mail, encode: Encode) -> Mail:
    """The tickets with a new name in the place of the rarest word that they share with others."""
    frequency = Counter(w for text in learnt.tickets["tokens"] for w in set(text.split()))
    texts, tokens = [], []
    for text, words in zip(mail.tickets["text"], mail.tickets["tokens"], strict=True):
        known = [word for word in words.split() if len(word) > 3 and frequency[word] > 2]
        if known:
            word = min(known, key=lambda word: (frequency[word], word))
            texts.append(re.sub(rf"(?i)\b{re.escape(word)}\b", NEW_NAME, text))
            tokens.append(" ".join(NEW_NAME.lower() if w == word else w for w in words.split()))
        else:
            texts.append(text)
            tokens.append(words)
    renamed = mail.tickets.assign(text=texts, tokens=tokens)
    has_name = np.flatnonzero([NEW_NAME in text for text in texts])
    return replace(mail.rows(has_name), tickets=renamed.iloc[has_name].reset_index(drop=True),
                   vectors=encode([texts[row] for row in has_name]))  # fmt: skip


def _precision_lines(
    desk: Desk, pool: pd.DataFrame, windows: int, desk_name: str
) -> Iterator[Line]:
    """The estimate beside what is realised, on windows of 500 automatic tickets."""
    automatic = pool[pool["decision"] == "auto"]
    if len(automatic) <= AUTOMATIC:
        yield Line("drift", f"{desk_name}: precision without labels", "too few automatic tickets")
        return
    given = desk.learnt.tickets.set_index("ticket_id")["category"]
    estimator = precision_estimator(desk.champion, given)
    if estimator is None:
        yield Line("drift", f"{desk_name}: precision without labels", "too few to calibrate")
        return
    longer = automatic["character_count"] > automatic["character_count"].median()
    language = automatic["language"] == automatic["language"].value_counts().index[-1]
    streams: dict[str, Floats] = {
        "quiet": np.ones(len(automatic)),
        "four times as many long": np.asarray(1 + 3.0 * longer),
    }
    if language.mean() < 1:
        streams["eight times the rarest language"] = np.asarray(1 + 7.0 * language)
    for name, weight in streams.items():
        within = inside = 0
        for number in range(windows):
            random = np.random.default_rng(number)
            shares = weight / weight.sum()
            week = automatic.iloc[random.choice(len(automatic), AUTOMATIC, replace=False, p=shares)]
            estimate = estimator.estimate(week["category_confidence"].to_numpy())
            realised = float((week["category"] == week["truth"]).mean())
            within += abs(estimate.precision - realised) <= 0.02
            inside += estimate.low <= realised <= estimate.high
        figure = f"{desk_name}: precision without labels, {name}"
        yield at_least("drift", f"{figure}: within 2 points", within / windows, 1.0)
        yield at_least("drift", f"{figure}: in the interval", inside / windows, 0.85)
