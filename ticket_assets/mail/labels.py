"""Labels that people gave: read from tables and matched to the desk's own label set."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.exports import (
    Row,
    Table,
    fold,
    label_columns,
    open_table,
)
from ticket_assets.mail.headers import bare_id
from ticket_assets.mail.input_files import ExportError, InputFile
from ticket_assets.mail.landing import Label
from ticket_assets.text.languages import languages

Target = Literal["category", "priority"]

_SHOWN_VALUES = 10


class UnknownLabelError(TicketAssetsError):
    """Labels to import are not in the desk's label set."""


def read_labels(path: Path) -> Iterator[Label]:
    """The labels in a CSV, TSV, JSON Lines or Parquet file, as written there.

    A row names its ticket by `ticket_id` (20 hexadecimal digits) or by `message_id`, and holds a
    category, a priority or both; a row with neither says nothing and is passed over. Without a
    date of its own a label is as old as the file, so that reading the file again is the same.

    Raises:
        ExportError: the file or its columns cannot be used, or a row with a label is broken.
    """
    file = InputFile(path)
    table = open_table(file, label_columns(), {})
    if not table.columns.keys() & {"ticket_id", "message_id"}:
        raise ExportError(f"{path} names no ticket: expected a column ticket_id or message_id.")
    if not table.columns.keys() & {"category", "priority"}:
        raise ExportError(f"{path} holds no label: expected a column category or priority.")
    written_at = file.written_at()
    for row in table:
        if row.broken:
            raise ExportError(f"{path}, row {row.number} is broken: {row.broken}.")
        label = row_label(table, row, written_at)
        if not (label.category or label.priority):
            continue
        if not (label.ticket_id or label.message_id):
            raise ExportError(f"{path}, row {row.number} names no ticket.")
        yield label


def row_label(table: Table, row: Row, written_at: datetime) -> Label:
    """What a row of a table of labels says; without a date of its own it is of `written_at`."""
    ticket_id, number = ticket_name(table.text(row, "ticket_id"))
    return Label(
        category=table.text(row, "category"),
        priority=table.text(row, "priority"),
        labelled_at=table.moment(row, "labelled_at") or written_at,
        labelled_by=table.text(row, "labelled_by") or table.file.path.name,
        ticket_id=ticket_id,
        # A desk's own number under "ticket" is the message id in its exports.
        message_id=bare_id(table.text(row, "message_id")) or number,
    )


def ticket_name(text: str | None) -> tuple[str | None, str | None]:
    """The ticket id or the message id that a person names a ticket by, one of them None."""
    if text and len(text) == 20 and set(text) <= set("0123456789abcdef"):
        return text, None
    return None, bare_id(text)


def unknown_labels(labels: Iterable[Label], known: LabelSet) -> dict[Target, Counter[str]]:
    """How often each value occurs that matches none of the allowed ones."""
    unknown: dict[Target, Counter[str]] = {"category": Counter(), "priority": Counter()}
    for label in labels:
        if label.category and known.category(label.category) is None:
            unknown["category"][label.category] += 1
        if label.priority and known.priority(label.priority) is None:
            unknown["priority"][label.priority] += 1
    return unknown


class LabelSet:
    """The desk's categories and priorities, matched without case, accents and punctuation."""

    def __init__(
        self,
        categories: Iterable[str],
        priorities: Iterable[str],
        former: Mapping[str, str] | None = None,
    ) -> None:
        """`former`: the category by each name that one had before; a name of today goes first."""
        self.categories = tuple(categories)
        self.priorities = tuple(priorities)
        self._categories = {fold(name): now for name, now in (former or {}).items()}
        self._categories |= {fold(name): name for name in self.categories}
        self._priorities = {fold(name): name for name in self.priorities}
        for words in _priority_words():
            own = [name for name in self.priorities if fold(name) in words]
            if len(own) == 1:
                self._priorities = dict.fromkeys(words, own[0]) | self._priorities

    def category(self, value: str) -> str | None:
        """The category a value means, or None."""
        return self._categories.get(fold(value))

    def priority(self, value: str) -> str | None:
        """The priority a value means, also in another of the common languages, or None."""
        return self._priorities.get(fold(value))

    def check(self, labels: Iterable[Label], where: str) -> None:
        """Pass when every label is allowed.

        Raises:
            UnknownLabelError: with the unknown values, their counts, and the allowed ones.
        """
        unknown = unknown_labels(labels, self)
        problems = []
        if values := unknown["category"]:
            allowed = ", ".join(self.categories)
            problems.append(f"unknown categories: {_counts(values)} (known: {allowed})")
        if values := unknown["priority"]:
            allowed = ", ".join(self.priorities)
            problems.append(f"unknown priorities: {_counts(values)} (known: {allowed})")
        if problems:
            raise UnknownLabelError(
                f"{where}: {'; '.join(problems)}. Nothing was imported. Add them to the routing"
                " file (TICKETS_ROUTING), change them in the file, or have a routing file written"
                " from it with `--write-routing routing.yaml`."
            )

    def matched(self, labels: Iterable[Label]) -> Iterator[Label]:
        """The labels, already checked, in the desk's own spelling."""
        for label in labels:
            yield replace(
                label,
                category=label.category and self.category(label.category),
                priority=label.priority and self.priority(label.priority),
            )


def ordered_priorities(names: Iterable[str]) -> list[str]:
    """Priority names from least to most urgent, as far as their words are known; the others, whose
    order only the desk knows, follow by name."""
    steps = _priority_words()
    ranks = {word: rank for rank, words in enumerate(steps) for word in words}
    return sorted(names, key=lambda name: (ranks.get(fold(name), len(steps)), name))


@functools.cache
def _priority_words() -> tuple[frozenset[str], ...]:
    """The words desks use for one and the same urgency, the least first; one stands for another
    only when the desk's own label set holds exactly one of them."""
    steps = zip(*(words.priorities for words in languages() if words.priorities), strict=True)
    return tuple(frozenset(" ".join(step).split()) for step in steps)


def _counts(values: Counter[str]) -> str:
    shown = [f"{value!r} ({count})" for value, count in values.most_common(_SHOWN_VALUES)]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
