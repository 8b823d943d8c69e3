"""Tickets that say what an earlier one said: each is linked to the first."""

from __future__ import annotations

import functools
import hashlib
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import combinations, takewhile
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ticket_assets.text.languages import all_words, one_of
from ticket_assets.text.same_text import wording

DUPLICATE_DAYS = 30
"""Days within which a repetition is one: the same words a season later are a new incident."""
NEAR = 0.75
"""Least Jaccard similarity of the sets of word pairs: about one word in fourteen is misspelt."""
LONG_TOKENS = 20
"""Tokens from which the same text of another sender is a copy. Two people who both write
"l'imprimante ne marche plus" have two printers."""
EARLIER_COLUMNS = (
    *("ticket_id", "received_at", "text", "token_count"),
    *("sender", "message_id", "attachments", "body_hash", "duplicate_of"),
)
COLUMNS = EARLIER_COLUMNS[:-1]

Rule = Literal["same message", "same text", "nearly the same text"]

_MIN_NEAR_PAIRS = 9  # with fewer, one misspelt word is a large part of the text
_MIN_LINES = 3  # with fewer, their order may be the point
# Letters of the shortest words in which a slip can be told from another word or name: "Dupond" is
# not Dupont misspelt, "house" not mouse, and Alexander not Alexandre.
_MIN_SWAPPED, _MIN_MISSING, _MIN_WRONG = 6, 9, 10
_PLACEHOLDER = re.compile(r"\[[A-Z_]+\]")


class Duplicate(NamedTuple):
    """The first ticket that says the same, and how that was told."""

    of: str
    rule: Rule


class _Text(NamedTuple):
    """A text as it is compared; equal ones are one."""

    words: str
    core: str
    """The words without greetings, thanks and reminders."""
    seal: str
    """What the words do not show: attachments, and the whole message behind masked data."""
    marks: bytes
    """A digest of the seal, the marks and the number of words: near texts have the same."""
    lines: bytes
    """A digest of the seal and the lines, whatever their order; empty where they are few."""

    @property
    def same(self) -> tuple[str, str]:
        """Equal for texts that are the same but for case and punctuation."""
        return self.words, self.seal


class _Ticket(NamedTuple):
    received_at: datetime
    ticket_id: str
    sender: str | None
    message_id: str | None
    text: _Text
    is_long: bool
    first: str


class _Seen(NamedTuple):
    received_at: datetime
    ticket_id: str
    first: str


def first_earlier_day(first_day: date) -> date:
    """The first day of the earlier tickets that a run from `first_day` on has to look at."""
    return first_day - timedelta(days=DUPLICATE_DAYS)


def body_hash(*parts: str | None) -> str:
    """MD5 of the subject and bodies of a message, as `md5(concat_ws(chr(10), ...))` in SQL."""
    whole = "\n".join(part for part in parts if isinstance(part, str))
    return hashlib.md5(whole.encode(), usedforsecurity=False).hexdigest()


def link_duplicates(
    tickets: pd.DataFrame, earlier: Iterable[pd.DataFrame]
) -> list[Duplicate | None]:
    """For each ticket the first one that says the same, or None.

    A ticket says the same as an earlier one, at most DUPLICATE_DAYS older, when it is

    - the same message: one Message-ID, one sender;
    - the same text, but for case and punctuation, of the same sender or of LONG_TOKENS;
    - nearly the same text, likewise: but for greetings, thanks, reminders and remarks of who
      forwards it, the words are the same in the same order, some of them misspelt (the sets of word
      pairs have a Jaccard similarity of NEAR), and the marks (words with digits, signs or capitals
      inside, negations) are equal; or the lines are the same in another order. So "srv-12" is not
      "srv-13", dupont is not dupond, and what says "problème résolu" below is new, however long the
      rest.

    Texts go with the names of their attachments; and where data is masked, the whole messages must
    be equal, since a placeholder hides whom it is about. What repeats a duplicate is linked to the
    first of them all. Near texts are found by prefix filtering (Bayardo, Ma and Srikant, "Scaling
    up all pairs similarity search", 2007), which misses none, so that days give the same one by one
    and together.

    Args:
        tickets: COLUMNS; `body_hash` is that of the unmasked message.
        earlier: EARLIER_COLUMNS of what was received before, since `first_earlier_day`, in parts
            of any size; of each only what can match is kept.
    """
    near = _NearTexts()
    new = []
    for row in _rows(tickets, COLUMNS):
        ticket = _ticket(row)
        near.add(ticket.text)
        new.append(ticket)
    messages = {ticket.message_id for ticket in new}
    texts = {ticket.text.same for ticket in new}
    known = []
    for part in earlier:
        for row in _rows(part, EARLIER_COLUMNS):
            ticket = _ticket(row)
            is_near = near.add_earlier(ticket.text)
            if is_near or ticket.text.same in texts or ticket.message_id in messages:
                known.append(ticket)
    near_texts = near.pairs()
    seen: defaultdict[tuple[object, ...], list[_Seen]] = defaultdict(list)
    for ticket in sorted(known):
        _remember(ticket, ticket.first, seen)
    duplicates: dict[str, Duplicate | None] = {}
    for ticket in sorted(new):
        duplicate = _first(ticket, near_texts.get(ticket.text, ()), seen)
        _remember(ticket, duplicate.of if duplicate else ticket.ticket_id, seen)
        duplicates[ticket.ticket_id] = duplicate
    return [duplicates[ticket_id] for ticket_id in tickets["ticket_id"]]


def keys(row: Any) -> set[Hashable]:
    """Text, marks and Message-ID of a ticket: duplicates have one in common."""
    text = _text(row)
    marks = text.marks if text.core.count(" ") >= _MIN_NEAR_PAIRS else None
    return {text.same, marks, text.lines, row.message_id} - {None, b""}


def _rows(frame: pd.DataFrame, columns: Sequence[str]) -> Iterator[Any]:
    values = frame[list(columns)].astype(object)
    return values.where(values.notna(), None).itertuples(index=False, name="Row")


def _ticket(row: Any) -> _Ticket:
    return _Ticket(
        received_at=row.received_at,
        ticket_id=row.ticket_id,
        sender=row.sender,
        message_id=row.message_id,
        text=_text(row),
        is_long=row.token_count >= LONG_TOKENS,
        first=getattr(row, "duplicate_of", None) or row.ticket_id,
    )


def _text(row: Any) -> _Text:
    text = row.text
    seal = row.attachments or ""
    if "[" in text and _PLACEHOLDER.search(text):
        seal += row.body_hash or row.ticket_id
    turning_words = _turning_words()
    words, core = wording(_without_asides(text))
    marks = " ".join(word for word in words if _is_mark(word) or word in turning_words)
    lines = sorted(filter(None, map(str.strip, text.casefold().split("\n"))))
    return _Text(
        wording(text).text,
        core,
        seal,
        _digest(seal, marks.casefold(), str(len(words))),
        _digest(seal, *lines) if len(lines) >= _MIN_LINES else b"",
    )


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).digest()


def _is_mark(word: str) -> bool:
    """Whether no misspelling is to be thought of: a code, a path, an acronym."""
    return not word.isalpha() or not word[1:].islower()


_PART = re.compile(r"[^.!?,;:\n]+")
_LONGEST_ASIDE = 80  # characters


def _without_asides(text: str) -> str:
    """`text` without the parts that say nothing about the matter: thanks, closings, reminders."""
    return _PART.sub(lambda part: "" if _is_aside(part[0].strip()) else part[0], text)


@functools.lru_cache(maxsize=10_000)
def _is_aside(part: str) -> bool:
    return len(part) <= _LONGEST_ASIDE and bool(_asides().fullmatch(part))


@functools.cache
def _asides() -> re.Pattern[str]:
    words = all_words()
    aside = one_of(words.thanks + words.closings + words.reminders)
    return re.compile(rf"{aside}(?:[ \t]+{aside}){{0,3}}", re.IGNORECASE)


@functools.cache
def _turning_words() -> frozenset[str]:
    return frozenset(all_words().turning_words)


def _keys(ticket: _Ticket, text: tuple[object, ...]) -> Iterator[tuple[object, ...]]:
    """What an earlier ticket with `text` has in common with a `ticket` that repeats it."""
    if ticket.sender:
        yield text, ticket.sender
    if ticket.is_long:
        yield (text,)


def _message_key(ticket: _Ticket) -> tuple[object, ...] | None:
    # An id of a desk's export, like "12", says nothing across exports.
    if ticket.sender and ticket.message_id and "@" in ticket.message_id:
        return "message", ticket.message_id, ticket.sender
    return None


def _remember(
    ticket: _Ticket, first: str, seen: defaultdict[tuple[object, ...], list[_Seen]]
) -> None:
    this = _Seen(ticket.received_at, ticket.ticket_id, first)
    text = ticket.text
    same = [text.same, text, *([("lines", text.lines)] if text.lines else [])]
    for key in (_message_key(ticket), *(key for texts in same for key in _keys(ticket, texts))):
        if key:
            seen[key].append(this)


def _first(
    ticket: _Ticket, near: Iterable[_Text], seen: dict[tuple[object, ...], list[_Seen]]
) -> Duplicate | None:
    """The duplicate link to the earliest match; of several rules the strictest is named."""
    since = datetime.combine(first_earlier_day(ticket.received_at.date()), datetime.min.time())
    looked_up: list[tuple[tuple[object, ...] | None, Rule]] = [
        (_message_key(ticket), "same message"),
        *((key, "same text") for key in _keys(ticket, ticket.text.same)),
        *((key, "nearly the same text") for text in near for key in _keys(ticket, text)),
        *(
            (key, "nearly the same text")
            for key in (_keys(ticket, ("lines", ticket.text.lines)) if ticket.text.lines else ())
        ),
    ]
    matches: list[tuple[_Seen, Rule]] = []
    for key, rule in looked_up:
        occurrences = seen.get(key, []) if key else []
        start = bisect_left(occurrences, since, key=lambda one: one.received_at)
        if start < len(occurrences):
            matches.append((occurrences[start], rule))
    if not matches:
        return None
    earliest, rule = min(matches, key=lambda match: match[0][:2])
    return Duplicate(earliest.first, rule)


class _NearTexts:
    """Finds the pairs of near texts; the marks split them into small buckets beforehand."""

    def __init__(self) -> None:
        self._new: defaultdict[bytes, dict[_Text, None]] = defaultdict(dict)
        self._earlier: defaultdict[bytes, dict[_Text, None]] = defaultdict(dict)

    def add(self, text: _Text) -> None:
        self._new[text.marks][text] = None

    def add_earlier(self, text: _Text) -> bool:
        """Keep an earlier text if a new one has its marks; whether it was kept."""
        if text.marks not in self._new:
            return False
        if text not in self._new[text.marks]:
            self._earlier[text.marks][text] = None
        return True

    def pairs(self) -> dict[_Text, list[_Text]]:
        """For each new text those that are near it, new or earlier."""
        near: defaultdict[_Text, list[_Text]] = defaultdict(list)
        for marks, new in self._new.items():
            texts = [*new, *self._earlier.get(marks, ())]
            for one, other in _near_pairs([text.core for text in texts], len(new)):
                near[texts[one]].append(texts[other])
                near[texts[other]].append(texts[one])
        return near


def _near_pairs(texts: list[str], new: int) -> Iterator[tuple[int, int]]:
    """Positions of near texts, of which at least one is among the first `new`."""
    if len(texts) < 2:
        return
    numbers: dict[str, int] = {}
    word_pairs: list[NDArray[np.int64]] = []
    for text in texts:
        words = np.array([numbers.setdefault(word, len(numbers)) for word in text.split(" ")])
        word_pairs.append(np.unique(words[:-1] << 32 | words[1:]))
    sizes = np.array([len(pairs) for pairs in word_pairs])
    _, inverse, counts = np.unique(
        np.concatenate(word_pairs), return_inverse=True, return_counts=True
    )
    # Rare pairs first: two near texts share one of the first tenth of theirs, and few others do.
    ranks = np.argsort(np.argsort(counts, kind="stable"))[inverse]
    by_text = [np.sort(ranked) for ranked in np.split(ranks, np.cumsum(sizes)[:-1])]
    sharing: defaultdict[int, list[int]] = defaultdict(list)
    for position, ranked in enumerate(by_text):
        if len(ranked) >= _MIN_NEAR_PAIRS:
            prefix = len(ranked) - int(np.ceil(NEAR * len(ranked))) + 1
            for rank in ranked[:prefix].tolist():
                sharing[rank].append(position)
    candidates = {
        pair
        for positions in sharing.values()
        for pair in combinations(positions, 2)
        if pair[0] < new and NEAR <= sizes[pair[0]] / sizes[pair[1]] <= 1 / NEAR
    }
    for one, other in sorted(candidates):
        shared = np.intersect1d(by_text[one], by_text[other], assume_unique=True).size
        if shared >= NEAR * (sizes[one] + sizes[other] - shared) and not _is_reworded(
            texts[one], texts[other]
        ):
            yield one, other


def _is_reworded(one: str, other: str) -> bool:
    """Whether a word of one text is missing in the other or has another in its place."""
    words, others = one.split(" "), other.split(" ")
    return len(words) != len(others) or not all(
        word == spelling or _is_slip(word, spelling)
        for word, spelling in zip(words, others, strict=True)
    )


def _is_slip(one: str, other: str) -> bool:
    """Whether a letter within is wrong, missing or too many, or two have changed places.

    At the end only a missing "s" is a slip: endings tell names apart.
    """
    shortest = min(len(one), len(other))
    start = _shared_start(one, other)
    end = _shared_start(one[start:][::-1], other[start:][::-1])
    first, second = one[start : len(one) - end], other[start : len(other) - end]
    if len(first) == len(second) == 2:
        return first == second[::-1] and shortest >= _MIN_SWAPPED and end > 0
    if {first, second} == {"", "s"} and end == 0:
        return shortest >= _MIN_MISSING
    if len(first) != len(second):
        return len(first + second) == 1 and shortest >= _MIN_MISSING and start > 1 and end > 0
    return len(first) == 1 and shortest >= _MIN_WRONG and start > 2 and end > 2


def _shared_start(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
