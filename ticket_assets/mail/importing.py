"""Import of a mailbox or an export, with its labels, into the landing zone."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from ticket_assets.mail.archives import (
    ARCHIVE_SUFFIXES,
    Member,
    is_archive,
    members,
    spooled,
)
from ticket_assets.mail.exports import (
    TABLE_SUFFIXES,
    TableReading,
    export_message,
    fold,
    open_export,
)
from ticket_assets.mail.input_files import MAX_MAIL_BYTES, ExportError, InputFile
from ticket_assets.mail.labels import LabelSet, ordered_priorities, read_labels
from ticket_assets.mail.landing import IncomingMessage, Label, LandingZone, ticket_id_of
from ticket_assets.mail.mailboxes import (
    eml_files,
    eml_messages,
    mail_message,
    maildir_files,
    mbox_lines,
    mbox_messages,
)
from ticket_assets.routing import Routing, load_routing, name_problem
from ticket_assets.settings import DateOrder

Kind = Literal["mbox", "maildir", "eml folder", "eml", "table", "archive"]

_START_BYTES = 65536
# An archive of mail holds JSON of another use: Google's holds the settings of the mailbox.
_ARCHIVED_TABLE_SUFFIXES = TABLE_SUFFIXES.keys() - {".json"}
_NOT_MAIL = {
    b"\xd0\xcf\x11\xe0": "an Outlook message (.msg) or an old workbook (.xls); save it as .eml or"
    " .xlsx",
    b"!BDN": "an Outlook archive (.pst); export it as mbox or .eml",
    b"PK\x03\x04": "a document; save its table as .xlsx or CSV",
    b"\x1f\x8b": "one compressed file; unpack it",
    b"BZh": "one compressed file; unpack it",
    b"\xfd7zXZ": "one compressed file; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it, or pack it as .zip or .tar.gz",
    b"Rar!": "a RAR archive; unpack it, or pack it as .zip or .tar.gz",
}


class Imported(NamedTuple):
    """A message of a mailbox or an export, with the label the export gave it."""

    message: IncomingMessage
    label: Label | None


@dataclass(frozen=True)
class ImportReport:
    """What an import changed."""

    landed: int
    already_there: int
    healed: int
    """Messages whose original was damaged or had been set aside, and is whole again."""
    erased_before: int
    """Messages that a person had erased: they do not land again."""
    undated: int
    """Landed messages without a usable date, which are filed under the day they landed."""
    labels: int
    """Labels that were not there yet."""
    older: int
    """Landed messages from before the first day, which wait until it is moved back."""
    days: tuple[date, ...]
    """Days that received a new message, sorted."""
    unresolved: int
    """Labels in the whole landing zone whose message id no landed message has."""
    labelled: int
    """Tickets in the whole landing zone that have a label, if this import brought any."""
    labelled_by_category: Mapping[str, int]
    """Those of them by their category, where they have one."""
    copies: int
    """Those of them beyond the first of their message id: the message came in several forms."""
    ignored: Mapping[str, int]
    """Counts of what was passed over in an archive or a folder, by kind."""
    tables: tuple[TableReading, ...]


def read_mailbox(
    path: Path,
    *,
    folder: Path | None = None,
    column_mapping: Mapping[str, str] | None = None,
    date_order: DateOrder | None = None,
    ignored: Counter[str] | None = None,
    readings: list[TableReading] | None = None,
) -> Iterator[Imported]:
    """The messages in a mailbox or an export, one in memory at a time.

    Known are mbox files, Maildirs, folders of `.eml`, `.eml` files, tables in CSV, TSV, Excel,
    JSON Lines or Parquet, and ZIP and tar archives of them; `column_mapping` says which column of a
    table holds a field, `date_order` what stands first in dates that could be read both ways:
    what the table itself shows, else the day. `folder` is the one above a file that a person named,
    if they did not name the file. `ignored` counts the other files of an archive, and what is no
    file in a folder; `readings` takes up how each table was understood.

    Raises:
        ExportError: the path is none of these, or a table lacks what a ticket needs.
    """
    ignored = Counter() if ignored is None else ignored
    readings = [] if readings is None else readings
    file = InputFile(path, folder)
    kind = _kind(file)
    options = _TableOptions(column_mapping or {}, date_order, readings)
    if kind == "table":
        yield from _read_export(file, options, path.name, str(path))
        return
    if kind == "archive":
        yield from _read_archive(file, options, ignored)
        return
    if column_mapping:
        raise ExportError(f"{path} has no columns to map: it is not a table.")
    messages = {
        "mbox": lambda: mbox_messages(file, f"mbox:{path.name}"),
        "maildir": lambda: eml_messages(maildir_files(path, ignored), f"maildir:{path.name}"),
        "eml folder": lambda: eml_messages(eml_files(path, ignored), f"eml:{path.name}"),
        "eml": lambda: eml_messages([file], f"eml:{path.name}"),
    }[kind]()
    for message in messages:
        yield Imported(message, None)


class _TableOptions(NamedTuple):
    """What a person says about the tables that are read, and what is found out about them."""

    column_mapping: Mapping[str, str]
    date_order: DateOrder | None
    readings: list[TableReading]


def has_columns(path: Path) -> bool:
    """Whether a path is a table or an archive with one, so that columns can be mapped.

    Raises:
        ExportError: the path is no mailbox and no export.
    """
    file = InputFile(path)
    kind = _kind(file)
    if kind == "archive":
        return any(_member_kind(member) == "table" for member in members(file, Counter()))
    return kind == "table"


def import_path(
    landing: LandingZone,
    path: Path,
    *,
    categories: Iterable[str],
    priorities: Iterable[str],
    column_mapping: Mapping[str, str] | None = None,
    date_order: DateOrder | None = None,
    labels_path: Path | None = None,
    first_day: date | None = None,
    on_message: Callable[[IncomingMessage], None] | None = None,
) -> ImportReport:
    """Land a mailbox or an export, and the labels in it and in `labels_path`.

    Every label is checked before anything lands, and whether the order of day and month is known
    in every table. Importing the same again changes nothing. `first_day` is the first day in use if
    the user has set one.

    Raises:
        ExportError: a file cannot be used; UnknownLabelError: a label is not allowed.
    """
    allowed = LabelSet(categories, priorities, landing.former_categories())
    options = _TableOptions(column_mapping or {}, date_order, [])
    allowed.check(_export_labels(path, options), str(path))
    for reading in options.readings:
        reading.require_date_order()
    if labels_path:
        allowed.check(read_labels(labels_path), str(labels_path))
    ignored: Counter[str] = Counter()
    mailbox = read_mailbox(
        path, column_mapping=column_mapping, date_order=date_order, ignored=ignored
    )
    landed = landing.land(
        (imported.message for imported in mailbox),
        on_message=on_message,
        first_day=first_day,
    )
    found = _export_labels(path, options._replace(readings=[]))
    labels = landing.land_labels(allowed.matched(found))
    if labels_path:
        labels += landing.land_labels(allowed.matched(read_labels(labels_path)))
    resolved = landing.resolve_labels() if labels or labels_path else None
    return ImportReport(
        landed=landed.landed,
        already_there=landed.already_there,
        healed=landed.healed,
        erased_before=landed.erased_before,
        undated=landed.undated,
        labels=labels,
        older=landed.older,
        days=landed.days,
        unresolved=resolved.unresolved if resolved and labels_path else 0,
        labelled=len(resolved.labels) if resolved else 0,
        labelled_by_category=Counter(resolved.labels["category"].dropna() if resolved else ()),
        copies=resolved.copies if resolved else 0,
        ignored=ignored,
        tables=tuple(options.readings),
    )


def count_labels(
    path: Path,
    column_mapping: Mapping[str, str] | None = None,
    labels_path: Path | None = None,
) -> tuple[Counter[str], Counter[str]]:
    """How often each category and each priority occurs in an export and in `labels_path`.

    Spellings that differ in case, accents or punctuation alone are one label, named as most often.

    Raises:
        ExportError: a file cannot be used.
    """
    categories: Counter[str] = Counter()
    priorities: Counter[str] = Counter()
    labels = [_export_labels(path, _TableOptions(column_mapping or {}, None, []))]
    if labels_path:
        labels.append(read_labels(labels_path))
    for label in chain.from_iterable(labels):
        categories.update(filter(None, [label.category]))
        priorities.update(filter(None, [label.priority]))
    return _one_spelling(categories), _one_spelling(priorities)


def draft_routing(
    path: Path,
    column_mapping: Mapping[str, str] | None = None,
    labels_path: Path | None = None,
) -> Routing:
    """A routing to start from: every category found in its own queue, the priorities in order.

    Raises:
        ExportError: a file cannot be used, there are no two categories to tell apart, or a label
            cannot be a name.
    """
    categories, priorities = count_labels(path, column_mapping, labels_path)
    for name in (*categories, *priorities):
        if problem := name_problem(name):
            raise ExportError(
                f"{labels_path or path}: the label {name[:20]!r} {problem}. Change it in the file."
            )
    if len(categories) < 2:
        raise ExportError(
            f"{labels_path or path} names {len(categories) or 'no'} category; a routing file needs"
            " at least two. Say which column holds them, like `--column category=MyColumn`, or give"
            " a file of labels with `--labels`."
        )
    usual = load_routing(None)
    names = list(priorities)
    if len(names) < 2:
        known = LabelSet((), usual.priorities)
        names = [name for name in names if known.priority(name) is None] + list(usual.priorities)
    return Routing(
        queues={name: name for name in sorted(categories)},
        priorities=tuple(ordered_priorities(names)),
        review_queue=usual.review_queue,
    )


def _one_spelling(values: Counter[str]) -> Counter[str]:
    spelling: dict[str, str] = {}
    merged: Counter[str] = Counter()
    for value, count in values.most_common():
        merged[spelling.setdefault(fold(value), value)] += count
    return merged


def _export_labels(path: Path, options: _TableOptions) -> Iterator[Label]:
    """The labels inside an export; a mailbox has none and is not read.

    An archive is read to its end, so that a damaged one is refused before anything lands.
    """
    file = InputFile(path)
    kind = _kind(file)
    exported: Iterable[Imported] = ()
    if kind == "archive":
        exported = _read_archive(file, options, Counter())
    elif kind == "table":
        table = open_export(file, options.column_mapping, options.date_order)
        if table.columns.keys() & {"category", "priority"}:
            exported = _read_export(file, options, path.name, str(path))
        else:
            options.readings.append(table.reading(str(path)))
    for imported in exported:
        if imported.label:
            yield imported.label


def _read_archive(
    file: InputFile, options: _TableOptions, ignored: Counter[str]
) -> Iterator[Imported]:
    path = file.path
    read: Counter[str] = Counter()
    for member in members(file, ignored):
        kind = _member_kind(member)
        if kind is None:
            is_nested = member.suffix in ARCHIVE_SUFFIXES
            ignored["archives inside it" if is_nested else "files that are not mail"] += 1
            continue
        read[kind] += 1
        if kind == "table":
            yield from _read_archived_export(member, options)
        elif kind == "mbox":
            for message in mbox_lines(member.stream, f"mbox:{member.name}"):
                yield Imported(message, None)
        else:
            if member.size > MAX_MAIL_BYTES:
                raise ExportError(
                    f"{member.where} exceeds {MAX_MAIL_BYTES >> 20} MB, which no mail does: take it"
                    " out of the archive."
                )
            yield Imported(mail_message(member.stream.read(), f"{kind}:{path.name}"), None)
    if not read:
        passed_over = _passed_over(ignored) or " (it is empty)"
        raise ExportError(
            f"{path} holds no mail{passed_over}: expected mbox files, a Maildir, .eml files or"
            " tables (.csv, .tsv, .xlsx, .jsonl, .parquet); unpack archives inside it and import"
            " them by themselves."
        )
    if options.column_mapping and not read["table"]:
        raise ExportError(f"{path} has no columns to map: it holds no table.")


def _member_kind(member: Member) -> Kind | None:
    """The kind of a file in an archive; None for a file that is not mail."""
    if member.name.startswith("."):  # what desktops leave beside files: `._mail.eml`
        return None
    start = member.stream.peek(1)
    if member.suffix in _ARCHIVED_TABLE_SUFFIXES:
        return "table" if start else None
    if member.suffix == ".eml":
        return "eml"
    if member.folder in ("cur", "new") and member.suffix not in {".mbox", *ARCHIVE_SUFFIXES}:
        return "maildir"
    return "mbox" if start.startswith(b"From ") else None


def _read_archived_export(member: Member, options: _TableOptions) -> Iterator[Imported]:
    with spooled(member) as path:
        try:
            yield from _read_export(InputFile(path), options, member.name, member.where)
        except ExportError as error:
            # The person knows the file by its name in the archive, not by that of our copy.
            raise ExportError(str(error).replace(str(path), member.where)) from None


def _read_export(
    file: InputFile, options: _TableOptions, name: str, where: str
) -> Iterator[Imported]:
    table = open_export(file, options.column_mapping, options.date_order)
    options.readings.append(table.reading(where))
    source = f"{file.suffix[1:]}:{name}"
    # The people who gave the labels did so before the file was written; no cell says when.
    labelled_at = file.written_at()
    for row in table:
        message = export_message(table, row, source)
        category, priority = table.text(row, "category"), table.text(row, "priority")
        label = None
        if category or priority:
            label = Label(
                category=category,
                priority=priority,
                labelled_at=labelled_at,
                labelled_by=source,
                ticket_id=ticket_id_of(hashlib.sha256(message.content).hexdigest()),
                message_id=message.message_id,
            )
        yield Imported(message, label)


def _passed_over(ignored: Mapping[str, int]) -> str:
    counts = ", ".join(f"{kind}: {count:,}" for kind, count in ignored.items())
    return f" ({counts})" if counts else ""


def _kind(file: InputFile) -> Kind:
    path = file.path
    try:
        if file.folder is None and path.is_dir():
            ignored: Counter[str] = Counter()
            if maildir_files(path, ignored):
                return "maildir"
            if not eml_files(path, ignored):
                passed_over = _passed_over(ignored)
                raise ExportError(
                    f"{path} holds no mail{passed_over}: expected a Maildir or .eml files."
                )
            return "eml folder"
        with file.open() as opened:
            start = opened.read(_START_BYTES)
    except OSError as error:
        raise ExportError(f"Cannot read {path}: {error.strerror}.") from None
    if not start.strip():
        raise ExportError(f"{path} is empty.")
    if file.suffix in TABLE_SUFFIXES:
        return "table"
    if start.startswith(b"From "):
        return "mbox"
    if is_archive(start, file):
        return "archive"
    for magic, format_and_advice in _NOT_MAIL.items():
        if start.startswith(magic):
            raise ExportError(f"{path} is {format_and_advice}.")
    if file.suffix == ".eml" or re.match(rb"[!-9;-~]+:", start):
        return "eml"
    raise ExportError(
        f"{path} is not known as a mailbox or an export: expected an mbox file, a Maildir, .eml"
        " files, a table (.csv, .tsv, .xlsx, .jsonl, .parquet), or a .zip or .tar.gz of them."
    )
