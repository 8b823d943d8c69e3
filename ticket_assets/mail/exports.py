"""Tickets read from a table that a help desk exported: CSV, TSV, Excel, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import functools
import json
import unicodedata
from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from io import TextIOWrapper
from itertools import chain, zip_longest
from typing import Any, NamedTuple, TextIO

from ticket_assets.mail.headers import bare_id
from ticket_assets.mail.input_files import MAX_ROW_CHARACTERS, ExportError, InputFile
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.mail.received import believable
from ticket_assets.mail.written_dates import as_datetime, figure_orders
from ticket_assets.settings import EXPORT_FIELDS, DateOrder
from ticket_assets.text.languages import languages

TABLE_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "workbook",
    ".xlsm": "workbook",
}
_PARQUET_BATCH = 1000
MAX_PARQUET_RATIO = 200
"""What is read from a Parquet file to its size: exports of repetitive tickets reach 50."""
_START_BYTES = 65536
_SHOWN_COLUMNS = 40
_SHOWN_CHARACTERS = 60
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")  # Excel's "Unicode text"


class Row(NamedTuple):
    """One row of a table: its values by column, or why it is broken."""

    number: int
    """From 1, the header not counted."""
    values: dict[str, Any]
    broken: str | None


@dataclass(frozen=True)
class DateColumn:
    """How the dates in figures of a column are read."""

    name: str
    order: DateOrder | None
    """None: it cannot be told."""
    reason: str
    """Why it is this order, or why none can be told."""


@dataclass(frozen=True)
class TableReading:
    """What a person should know of how a table was understood."""

    where: str
    """The file, or its name in an archive and the archive, for messages."""
    columns: tuple[str, ...]
    missing: tuple[str, ...]
    """Fields that tickets live on and that no column holds."""
    dates: DateColumn | None
    """Of a column that holds dates in which day and month could change places."""
    other_sheets: tuple[str, ...] = ()
    """Sheets of a workbook that hold something and were not read."""

    def require_date_order(self) -> None:
        """Pass when the order of day and month is known, or does not matter.

        Raises:
            ExportError: it cannot be told; what was read the wrong way round would land for good.
        """
        if self.dates and not self.dates.order:
            raise ExportError(
                f"{self.where}: whether the day or the month stands first in {self.dates.name!r}"
                f" cannot be told: {self.dates.reason}. Nothing of it was imported. Say it with"
                " `--dates day-first` or `--dates month-first`, for a drop folder with"
                " TICKETS_EXPORT_DATES."
            )

    @property
    def notes(self) -> list[str]:
        return [note for note in (self.finding, *self.warnings) if note]

    @property
    def finding(self) -> str | None:
        """How its dates were read, as a sentence."""
        if not self.dates or not self.dates.order:
            return None
        first = self.dates.order.removesuffix("-first")
        return (
            f"{self.where}: dates in {self.dates.name!r} were read with the {first} first"
            f" ({self.dates.reason})."
        )

    @property
    def warnings(self) -> list[str]:
        """Which fields were not found, with the columns that are there, and what was not read."""
        warnings = []
        if self.missing:
            warnings.append(
                f"{self.where} has no column known as {', '.join(self.missing)}. Its columns:"
                f" {_listed(self.columns)}. Name it, like `--column {self.missing[0]}=MyColumn`."
            )
        if self.other_sheets:
            warnings.append(
                f"{self.where}: of its sheets one was read, and not {_listed(self.other_sheets)}."
                " Import them from workbooks of their own."
            )
        return warnings


@dataclass(frozen=True)
class Table:
    """An exported table whose rows are streamed anew at each iteration."""

    file: InputFile
    kind: str
    names: tuple[str, ...]
    """Of all its columns."""
    columns: dict[str, str]
    """The column of each field that has one."""
    date_order: DateOrder | None = None
    """What a person says about its dates."""
    sheets: tuple[str, ...] = ("",)
    """Of a workbook: the one that is the table, then the others."""

    def __iter__(self) -> Iterator[Row]:
        return self._rows()

    def _rows(self, only: str | None = None) -> Iterator[Row]:
        """The rows; of `only` one column where the rest need not be read for it."""
        if self.kind == "workbook":
            return _workbook_rows(self.file, self.sheets[0], self.names)
        if self.kind == "parquet":
            return _parquet_rows(self.file, only)
        return _text_rows(self.file, self.kind)

    def value(self, row: Row, field: str) -> Any:
        """A field's value in a row; None when it is absent or blank."""
        if field not in self.columns:
            return None
        value = row.values.get(self.columns[field])
        return None if value is None or (isinstance(value, str) and not value.strip()) else value

    def text(self, row: Row, field: str) -> str | None:
        """A field's value as a string without outer blanks."""
        value = self.value(row, field)
        return None if value is None else _as_text(value).strip()

    def moment(self, row: Row, field: str) -> datetime | None:
        """The date of the table's rows, in UTC; None when it is absent or no date."""
        order = self.dates.order if self.dates else None
        return as_datetime(self.value(row, field), order or "day-first")

    @functools.cached_property
    def dates(self) -> DateColumn | None:
        """How the column of dates is read, by all its values; None where it does not matter."""
        field = next((field for field in _DATE_FIELDS if field in self.columns), None)
        if field is None:
            return None
        name = self.columns[field]
        orders = figure_orders(row.values.get(name) for row in self._rows(only=name))
        if orders.either is None:
            return None
        if self.date_order:
            return DateColumn(name, self.date_order, "as it was asked for")
        order, reason = orders.decision()
        if not order and not orders.decisive and _names_say_day_first(field, self.columns):
            return DateColumn(name, "day-first", "as in the language of the columns' names")
        return DateColumn(name, order, reason)

    def reading(self, where: str) -> TableReading:
        """How the table, which a person knows to be there, was understood."""
        has = self.columns.keys() | ({"sender"} if "sender_name" in self.columns else set())
        missing = [field for field in _EXPECTED_FIELDS if field not in has]
        return TableReading(where, self.names, tuple(missing), self.dates, self.sheets[1:])


_LABEL_FIELDS = ("ticket_id", "message_id", "labelled_at", "labelled_by", "category", "priority")
_DATE_FIELDS = ("received_at", "labelled_at")
_EXPECTED_FIELDS = ("subject", "body", "sender", "received_at")


def _usual_columns(field: str) -> list[str]:
    """The names of a field's column in all languages, the first to be taken first."""
    lists = (getattr(words, f"{field}_columns") for words in languages())
    # Tables mix languages: all first choices come before all second ones.
    names = chain.from_iterable(zip_longest(*lists, fillvalue=""))
    return list(dict.fromkeys(filter(None, names)))


def ticket_columns() -> dict[str, list[str]]:
    """The usual names of the column of each field of a ticket, the first to be taken first."""
    return {field: _usual_columns(field) for field in EXPORT_FIELDS}


def label_columns() -> dict[str, list[str]]:
    """The same in tables that hold labels alone."""
    columns = {field: _usual_columns(field) for field in _LABEL_FIELDS}
    named = set(columns["ticket_id"])
    columns["message_id"] = [name for name in columns["message_id"] if name not in named]
    return columns


def _names_say_day_first(date_field: str, columns: Mapping[str, str]) -> bool:
    """Whether the names of a table's columns are of languages that write the day first."""
    orders = {
        field: [
            words.date_orders
            for words in languages()
            if _column_key(name) in getattr(words, f"{field}_columns")
        ]
        for field, name in columns.items()
    }

    def is_day_first(field: str) -> bool:
        return bool(orders[field]) and all(order == ("day",) for order in orders[field])

    def may_be_month_first(field: str) -> bool:
        return bool(orders[field]) and all("month" in order for order in orders[field])

    return is_day_first(date_field) or (
        any(map(is_day_first, columns)) and not any(map(may_be_month_first, columns))
    )


def open_table(
    file: InputFile,
    fields: Mapping[str, Sequence[str]],
    column_mapping: Mapping[str, str],
    date_order: DateOrder | None = None,
) -> Table:
    """The table in a file, with the columns that hold the given fields.

    Raises:
        ExportError: the file is not such a table, or a mapped field or column does not exist.
    """
    path, kind = file.path, TABLE_SUFFIXES.get(file.suffix)
    if kind is None:
        raise ExportError(f"{path} is not a table: expected {', '.join(TABLE_SUFFIXES)}.")
    try:
        with file.open() as opened:
            start = opened.read(_START_BYTES)
    except OSError as error:
        raise ExportError(f"Cannot read {path}: {error.strerror}.") from None
    if not start:
        raise ExportError(f"{path} is empty.")
    if kind not in ("parquet", "workbook") and _is_binary(start):
        raise ExportError(f"{path} is not text, whatever its name says: save it as UTF-8 CSV.")
    sheets: tuple[str, ...] = ("",)
    if kind == "workbook":
        known = {name for aliases in fields.values() for name in aliases}
        known |= set(map(_column_key, column_mapping.values()))
        sheets, names = _sheets(file, known)
    else:
        names = _column_names(file, kind)
    if not names:
        raise ExportError(
            f"{path} names no columns: expected a header line (in a workbook two cells at least),"
            " or JSON objects."
        )
    folded = {_column_key(name): name for name in reversed(names)}
    columns = {
        field: folded[alias]
        for field, aliases in fields.items()
        for alias in reversed(aliases)
        if alias in folded
    }
    for field, column in column_mapping.items():
        if field not in fields:
            raise ExportError(f"There is no field {field!r} to map: {', '.join(fields)}.")
        if column not in names and _column_key(column) not in folded:
            raise ExportError(
                f"{path} has no column {column!r} for {field}. Its columns: {_listed(names)}."
            )
        columns[field] = column if column in names else folded[_column_key(column)]
    if "sender_name" in columns and columns["sender_name"] == columns.get("sender"):
        del columns["sender_name"]  # a column of both, or of whichever there is
    return Table(file, kind, tuple(names), columns, date_order, sheets)


def open_export(
    file: InputFile, column_mapping: Mapping[str, str], date_order: DateOrder | None = None
) -> Table:
    """A table of tickets; `date_order` settles the dates that could be read both ways.

    Raises:
        ExportError: as `open_table`, or neither a subject nor a body column was found.
    """
    table = open_table(file, ticket_columns(), column_mapping, date_order)
    if "subject" not in table.columns and "body" not in table.columns:
        raise ExportError(
            f"{file.path} has no column known as a subject or a body. Its columns:"
            f" {_listed(table.names)}. Say which one it is,"
            " like `--column body=MyColumn`."
        )
    return table


def export_message(table: Table, row: Row, source: str) -> IncomingMessage:
    """A row on its way to the landing zone, as a JSON object.

    It holds the fields under their own names and the row as it was under `original`, without the
    category and the priority: those land as labels, and an export in which a person corrected one
    must not make a second ticket. A broken row lands too, with the reason under `broken`, and is
    rejected when it is parsed; so no row is lost.
    """
    labels = {table.columns.get("category"), table.columns.get("priority")}
    original = {name: value for name, value in row.values.items() if name not in labels}
    fields: dict[str, Any] = {"original": original}
    received_at = None
    if row.broken:
        fields["broken"] = f"row {row.number}: {row.broken}"
    else:
        received_at = believable(table.moment(row, "received_at"))
        for name in ("subject", "body", "sender", "recipients", "message_id", "in_reply_to"):
            fields[name] = table.text(row, name)
        # Only where there is one, so that a row of other tables stays the message that it was.
        if name_of_sender := table.text(row, "sender_name"):
            fields["sender_name"] = name_of_sender
    return IncomingMessage(
        content=json.dumps(fields, ensure_ascii=False, sort_keys=True, default=_as_text).encode(
            "utf-8", "replace"
        ),
        extension="json",
        source=source,
        received_at=received_at,
        received_at_source="export" if received_at else "landed",
        message_id=bare_id(fields.get("message_id")),
    )


# The same few labels stand in all rows.
@functools.lru_cache(maxsize=1024)
def fold(text: str) -> str:
    """Text without case, accents, punctuation and outer or repeated blanks."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in plain if not unicodedata.combining(char)).casefold()
    # Vowel signs, which many scripts write as marks, tell words apart as letters do.
    kept = (
        char if char.isalnum() or unicodedata.category(char) in {"Mn", "Mc"} else " "
        for char in plain
    )
    return " ".join("".join(kept).split())


def _column_key(name: str) -> str:
    """What a column's name is compared by."""
    first, _, second = name.partition(" - ")
    if second and fold(first) == fold(second):  # GLPI's "Demandeur - Demandeur"
        name = first
    return fold(name) or name.strip()  # "#"


def _as_text(value: Any) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    return str(value)


def _listed(names: Sequence[str]) -> str:
    # What is no table has its text for names.
    shown = [" ".join(name.split())[:_SHOWN_CHARACTERS] for name in names[:_SHOWN_COLUMNS]]
    more = len(names) - _SHOWN_COLUMNS
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _is_binary(start: bytes) -> bool:
    return b"\x00" in start and not start.startswith(_UTF_16_MARKS)


def _column_names(file: InputFile, kind: str) -> list[str]:
    if kind == "parquet":
        return [str(name) for name in _parquet(file).schema_arrow.names]
    if kind == "jsonl":
        names: dict[str, None] = {}
        for row in _text_rows(file, kind):
            names.update(dict.fromkeys(row.values if not row.broken else ()))
            if row.number >= 100:  # rows may leave out what they do not have
                break
        return list(names)
    return _csv_header(file)[0]


def _sheets(file: InputFile, known: Set[str]) -> tuple[tuple[str, ...], list[str]]:
    """The sheets of a workbook and the column names of the first of them, which is the one with
    the most columns whose names are known."""
    from ticket_assets.mail.workbooks import sheet_headers

    headers = sheet_headers(file)
    best = sorted(headers, key=lambda sheet: -len(known & set(map(_column_key, headers[sheet]))))
    names = headers[best[0]] if best else []
    return tuple(best), _distinct([" ".join(name.split()) for name in names])


def _workbook_rows(file: InputFile, sheet: str, names: Sequence[str]) -> Iterator[Row]:
    from ticket_assets.mail.workbooks import sheet_rows

    for number, cells in enumerate(sheet_rows(file, sheet), 1):
        more = {f"({at})": cell for at, cell in enumerate(cells, 1) if at > len(names)}
        yield Row(number, dict(zip(names, cells, strict=False)) | more, None)


def _text_rows(file: InputFile, kind: str) -> Iterator[Row]:
    return {"csv": _csv_rows, "jsonl": _jsonl_rows}[kind](file)


def _csv_header(file: InputFile) -> tuple[list[str], str, str]:
    """Column names, delimiter and encoding."""
    encoding = _encoding(file)
    csv.field_size_limit(MAX_ROW_CHARACTERS)  # 128 KB by default, which a long thread exceeds
    headers = []
    for delimiter in (",", ";", "\t"):
        with _as_text_file(file, encoding) as text:
            lines = _kept(text, [], file)
            headers.append((next(csv.reader(lines, delimiter=delimiter), []), delimiter))
    names, delimiter = max(headers, key=lambda header: len(header[0]))
    return _distinct([name.strip() for name in names]), delimiter, encoding


def _distinct(names: list[str]) -> list[str]:
    """Column names of which no two are the same: a row keeps the cells of all."""
    counts: Counter[str] = Counter()
    distinct = []
    for name in names:
        counts[name] += 1
        distinct.append(f"{name} ({counts[name]})".strip() if counts[name] > 1 else name)
    return distinct


def _as_text_file(file: InputFile, encoding: str) -> TextIO:
    return TextIOWrapper(file.open(), encoding, errors="replace", newline="")


def _encoding(file: InputFile) -> str:
    decoder = getincrementaldecoder("utf-8")()
    with file.open() as opened:
        if opened.read(2) in _UTF_16_MARKS:
            return "utf-16"
        opened.seek(0)
        try:
            while chunk := opened.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _csv_rows(file: InputFile) -> Iterator[Row]:
    names, delimiter, encoding = _csv_header(file)
    with _as_text_file(file, encoding) as text:
        lines: list[str] = []
        reader = csv.reader(_kept(text, lines, file), delimiter=delimiter)
        next(reader)
        number = 0
        while True:
            lines.clear()
            try:
                cells = next(reader, None)
                if cells is None:
                    return
                # A stray quote makes one row of all that follow, up to the next quote.
                if len(lines) > 1:
                    list(csv.reader(lines, delimiter=delimiter, strict=True))
                if not any(cell.strip() for cell in cells):
                    continue
                problem = None
                if len(cells) > len(names):
                    problem = f"{len(cells)} cells where the header has {len(names)}"
            except csv.Error as error:
                cells, problem = [], f"its quotes do not match ({error})"
            number += 1
            if problem:
                yield Row(number, {"text": "".join(lines)}, problem)
            else:
                yield Row(number, dict(zip(names, cells, strict=False)), None)


def _kept(text: TextIO, kept: list[str], file: InputFile) -> Iterator[str]:
    """The lines of a text, added to `kept`; whoever clears that begins a row."""
    size = 0
    while line := text.readline(MAX_ROW_CHARACTERS):
        size = len(line) + (size if kept else 0)
        if size >= MAX_ROW_CHARACTERS:
            raise ExportError(
                f"{file.path} holds a row of over {MAX_ROW_CHARACTERS >> 20} MB, which no ticket"
                " has: check that its quotes match."
            )
        kept.append(line)
        yield line


def _jsonl_rows(file: InputFile) -> Iterator[Row]:
    path, lines = file.path, list[str]()
    with _as_text_file(file, _encoding(file)) as text:
        number = 0
        for line in _kept(text, lines, file):
            lines.clear()
            if not line.strip():
                continue
            number += 1
            if number == 1 and line.lstrip().startswith("["):
                raise ExportError(
                    f"{path} is a JSON array: expected one object per line"
                    " (`jq -c '.[]' in.json > out.jsonl`)."
                )
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                values = None
            if isinstance(values, dict):
                yield Row(number, values, None)
            else:
                yield Row(number, {"text": line.strip()}, "not a JSON object")


def _parquet_rows(file: InputFile, only: str | None) -> Iterator[Row]:
    import pyarrow

    with _explained_parquet(file):
        fields = [field for field in _parquet(file).schema_arrow if only in (None, field.name)]
        texts = [field.name for field in fields if _is_text(field.type)]
        nested = any(pyarrow.types.is_nested(field.type) for field in fields)
        # A text that many rows share stands in the file once, and would be copied for each.
        parquet = _parquet(file, read_dictionary=texts)
        left = MAX_PARQUET_RATIO * max(file.size(), _START_BYTES)
        number = 0
        batches = parquet.iter_batches(
            batch_size=10 if nested else _PARQUET_BATCH, columns=[only] if only else None
        )
        for batch in batches:
            size = sum(map(_decoded_bytes, batch.columns))
            left -= size
            if left < 0:
                raise ExportError(
                    f"{file.path} unpacks to more than {MAX_PARQUET_RATIO} times its size, which no"
                    " export does: save it as CSV if you trust it."
                )
            step = _PARQUET_BATCH if size < MAX_ROW_CHARACTERS else 1
            for start in range(0, batch.num_rows, step):
                for values in _decoded(batch.slice(start, step)).to_pylist():
                    number += 1
                    yield Row(number, values, None)


def _is_text(kind: Any) -> bool:
    import pyarrow

    tests = ("is_string", "is_large_string", "is_binary", "is_large_binary")
    return any(getattr(pyarrow.types, test)(kind) for test in tests)


def _decoded_bytes(column: Any) -> int:
    """Bytes of a column once each row has its own copy of its text."""
    import pyarrow.compute

    if not (pyarrow.types.is_dictionary(column.type) and _is_text(column.type.value_type)):
        return int(column.nbytes)
    lengths = pyarrow.compute.binary_length(column.dictionary).take(column.indices)
    return pyarrow.compute.sum(lengths).as_py() or 0


def _decoded(batch: Any) -> Any:
    import pyarrow

    columns = [
        column.dictionary_decode() if pyarrow.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _parquet(file: InputFile, **options: Any) -> Any:
    import pyarrow.parquet

    with _explained_parquet(file):
        return pyarrow.parquet.ParquetFile(file.open(), **options)


@contextmanager
def _explained_parquet(file: InputFile) -> Iterator[None]:
    import pyarrow

    try:
        yield
    # Of text that is not UTF-8 and numbers out of range as well.
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"{file.path} is not a readable Parquet file: {reason}") from None
