"""Corrections: what people say of tickets; each row of a table is taken or refused by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.exports import (
    TABLE_SUFFIXES,
    Table,
    label_columns,
    open_table,
    ticket_columns,
)
from ticket_assets.mail.input_files import InputFile
from ticket_assets.mail.labels import LabelSet, row_label
from ticket_assets.mail.landing import Label, LandingZone
from ticket_assets.plural import counted
from ticket_assets.settings import DateOrder

_SHOWN_ROWS = 10
_TEXTS = ("subject", "body")


class CorrectionError(TicketAssetsError):
    """A correction names a ticket or a label that does not exist."""


@dataclass(frozen=True)
class CorrectionsReport:
    """What a table of corrections changed."""

    taken: int
    """Rows that count, or will."""
    landed: int
    """Labels in files that no landing had written before."""
    problems: Sequence[str]
    """Why rows were not taken, each with its number."""
    early: Sequence[str]
    """The rows that count once their message has landed."""

    @property
    def refusal(self) -> str | None:
        """The rows that were not taken, as sentences; None where all were."""
        if not self.problems:
            return None
        counts = "counts" if self.taken == 1 else "count"
        others = f" {counted(self.taken, 'other')} {counts}." if self.taken else ""
        refused = counted(len(self.problems), "correction")
        return f"{refused} not taken: {_listed(self.problems)}.{others}"

    @property
    def waiting(self) -> str | None:
        """The rows that count later, as a sentence; None where there are none."""
        if not self.early:
            return None
        return (
            f"{counted(len(self.early), 'correction')} of messages that have not landed will count"
            f" once they have: {_listed(self.early)}."
        )


def land_correction(landing: LandingZone, label: Label, allowed: LabelSet) -> int:
    """Land one correction and return how many tickets it names: a message that came in several
    forms is several.

    Raises:
        CorrectionError: there is no such ticket or label, or the ticket was erased.
        BlobStoreError: the zone cannot be written.
    """
    tickets = landing.tickets_named(_names([label]))
    problem = _label_problem(label, allowed)
    problem = problem or _ticket_problem(label, tickets, landing.erased())
    if problem:
        raise CorrectionError(f"{problem[0].upper()}{problem[1:]}.")
    landing.land_labels(allowed.matched([label]))
    return len(tickets[_name(label)])


def open_corrections(
    file: InputFile,
    column_mapping: Mapping[str, str] | None = None,
    date_order: DateOrder | None = None,
) -> Table | None:
    """The table of corrections in a file: one that names tickets and labels by their usual columns,
    and has no column of a text. None where the file is something else.

    Args:
        column_mapping: the columns of exports; one of a text makes the table an export.

    Raises:
        ExportError: the file is a table that cannot be used.
    """
    if file.suffix not in TABLE_SUFFIXES:
        return None
    usual = ticket_columns()
    texts = open_table(file, {field: usual[field] for field in _TEXTS}, {})
    mapped = {column for field, column in (column_mapping or {}).items() if field in _TEXTS}
    if texts.columns or mapped & set(texts.names):
        return None
    table = open_table(file, label_columns(), {}, date_order)
    has = table.columns.keys()
    is_usable = has & {"ticket_id", "message_id"} and has & {"category", "priority"}
    return table if is_usable else None


def land_corrections(landing: LandingZone, table: Table, allowed: LabelSet) -> CorrectionsReport:
    """Land the rows that can be used of a table of corrections.

    A row without a category and without a priority says nothing, and is passed over. Without a date
    of its own a correction is as old as its file. One of a message that has not landed yet waits
    for it; a ticket id that nothing has here is refused, since only this desk gives them.

    Raises:
        ExportError: the table cannot be read, or the order of day and month in it cannot be told.
        BlobStoreError: the zone cannot be written.
    """
    table.reading(str(table.file.path)).require_date_order()
    written_at = table.file.written_at()
    labels: dict[int, Label] = {}
    problems: dict[int, str] = {}
    for row in table:
        if row.broken:
            problems[row.number] = f"is broken ({row.broken})"
            continue
        label = row_label(table, row, written_at)
        if label.category or label.priority:
            labels[row.number] = label
    tickets = landing.tickets_named(_names(labels.values()))
    erased = landing.erased()
    early = []
    for number, label in labels.items():
        if problem := _label_problem(label, allowed):
            problems[number] = problem
        elif problem := _ticket_problem(label, tickets, erased):
            if label.message_id and label.message_id not in tickets and not label.ticket_id:
                early.append(f"row {number}: {problem}")
            else:
                problems[number] = problem
    taken = [label for number, label in labels.items() if number not in problems]
    landed = landing.land_labels(allowed.matched(taken))
    refused = [f"row {number}: {problems[number]}" for number in sorted(problems)]
    return CorrectionsReport(len(taken), landed, refused, early)


def _names(labels: Iterable[Label]) -> Set[str]:
    return {name for label in labels if (name := _name(label))}


def _name(label: Label) -> str:
    return label.ticket_id or label.message_id or ""


def _ticket_problem(label: Label, tickets: Mapping[str, Set[str]], erased: Set[str]) -> str | None:
    name = _name(label)
    if not name:
        return "names no ticket"
    if name not in tickets:
        return f"there is no ticket {name!r} here"
    return f"the ticket {name!r} was erased" if tickets[name] <= erased else None


def _label_problem(label: Label, allowed: LabelSet) -> str | None:
    if label.category and allowed.category(label.category) is None:
        return f"{label.category!r} is no category ({', '.join(allowed.categories)})"
    if label.priority and allowed.priority(label.priority) is None:
        return f"{label.priority!r} is no priority ({', '.join(allowed.priorities)})"
    return None


def _listed(rows: Sequence[str]) -> str:
    more = len(rows) - _SHOWN_ROWS
    return "; ".join(rows[:_SHOWN_ROWS]) + (f"; and {more:,} more" if more > 0 else "")
