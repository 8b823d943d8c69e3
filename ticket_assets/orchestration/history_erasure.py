"""Erases tickets and people from what Dagster keeps: runs, events, verdicts, ticks, logs of steps.

Metadata of checks and assets name tickets by their ids, and the message of a failure may quote what
it failed on. Dagster has no call that changes what was recorded, so its tables are changed
themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sql
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from ticket_assets.mail.addresses import spellings_pattern
from ticket_assets.storage.unfinished import remove_unfinished
from ticket_assets.storage.whole_file import replace_file

ERASED = "erased"
ROWS_AT_ONCE = 500
_CHUNK_BYTES = 1 << 20
_OVERLAP = 1000
"""Characters: more than an address has."""
_DIGITS = re.compile(r"(?<![0-9a-f])[0-9a-f]{20,}", re.IGNORECASE)
LOGS = frozenset({".err", ".out", ".log"})
"""Files of what a step has written to its standard error and output."""


def erase_from_history(
    instance: dg.DagsterInstance,
    ticket_ids: Collection[str],
    addresses: Collection[str] = (),
    *,
    dry_run: bool = False,
) -> int:
    """Replace the tickets' ids, and the addresses, by "erased"; returns how many rows and files
    were changed. `dry_run` only counts them.

    Nothing is left of them in the bytes of SQLite's files. Postgres keeps the former rows in its
    pages until they are vacuumed, which is asked for, and used again.
    """
    erasing = _erasing(ticket_ids, addresses)
    if not dry_run:
        remove_unfinished(Path(instance.root_directory))  # logs, where this was interrupted
    changed = 0
    for engine in _engines(instance):
        changed += _erase_rows(engine, erasing, dry_run=dry_run)
        if engine.dialect.name == "sqlite" and not dry_run:
            _overwrite_removed(engine, erasing)
    for path in _logs(instance):
        text = path.read_text("utf-8", "surrogateescape")
        erased = erasing(text)
        changed += erased != text
        if erased != text and not dry_run:
            replace_file(path, erased.encode("utf-8", "surrogateescape"))
    return changed


def _erasing(ticket_ids: Collection[str], addresses: Collection[str]) -> Callable[[str], str]:
    """What replaces ids, whole SHA-256 that begin with one of them, and addresses in a text."""
    erased_ids = set(ticket_ids)
    spellings = "|".join(map(spellings_pattern, sorted(addresses))) or r"(?!)"
    named = re.compile(spellings, re.IGNORECASE)

    def without_id(digits: re.Match[str]) -> str:
        return ERASED if digits[0][:20].lower() in erased_ids else digits[0]

    return lambda text: named.sub(ERASED, _DIGITS.sub(without_id, text))


def _engines(instance: dg.DagsterInstance) -> Iterator[sql.Engine]:
    """One for each database of the instance."""
    log = instance.event_log_storage
    if isinstance(log, SqliteEventLogStorage):
        for path in sorted(Path(log._base_dir).parent.parent.rglob("*.db")):
            engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})
            # What is removed is overwritten, and not only no longer found.
            sql.event.listen(engine, "connect", _overwrite)
            yield engine
    elif isinstance(log, SqlEventLogStorage):
        engine = log._engine  # type: ignore[attr-defined]
        yield engine.execution_options(isolation_level="READ COMMITTED")


def _overwrite(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA secure_delete=ON")


def _overwrite_removed(engine: sql.Engine, erasing: Callable[[str], str]) -> None:
    """Have SQLite write anew a file in which there still are bytes of rows that were removed
    before, and empty its log, which has what was changed now."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        if _holds(Path(str(engine.url.database)), erasing):
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()


def _holds(path: Path, erasing: Callable[[str], str]) -> bool:
    """Whether there is something to erase in the bytes of a file, which may be large."""
    with path.open("rb") as file:
        text = ""
        while chunk := file.read(_CHUNK_BYTES):
            text = text[-_OVERLAP:] + chunk.decode("utf-8", "surrogateescape")
            if erasing(text) != text:
                return True
    return False


def _erase_rows(engine: sql.Engine, erasing: Callable[[str], str], *, dry_run: bool) -> int:
    described = sql.MetaData()
    described.reflect(engine)
    changed = 0
    for table in described.sorted_tables:
        texts = [
            column for column in table.columns if isinstance(column.type, sql.String | sql.JSON)
        ]
        keys = list(table.primary_key) or texts
        if not texts:
            continue
        rows = _rows_with(engine, table, keys, texts, erasing)
        changed += len(rows)
        for key, values in () if dry_run else rows:
            with engine.begin() as connection:
                connection.execute(
                    table.update()
                    .where(*(column == value for column, value in zip(keys, key, strict=True)))
                    .values(values)
                )
        if rows and not dry_run and engine.dialect.name == "postgresql":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f'VACUUM "{table.name}"')
    return changed


def _rows_with(
    engine: sql.Engine,
    table: sql.Table,
    keys: Sequence[sql.Column[Any]],
    texts: Sequence[sql.Column[Any]],
    erasing: Callable[[str], str],
) -> list[tuple[Sequence[Any], dict[str, str]]]:
    """The keys of the rows that hold something to erase, with their new values by column."""
    found: list[tuple[Sequence[Any], dict[str, str]]] = []
    with engine.connect() as connection:
        streamed = connection.execution_options(yield_per=ROWS_AT_ONCE)
        for row in streamed.execute(sql.select(*keys, *texts)):
            key, values = row[: len(keys)], row[len(keys) :]
            erased = {
                column.name: erased_value
                for column, value in zip(texts, values, strict=True)
                if isinstance(value, str) and (erased_value := erasing(value)) != value
            }
            if erased:
                found.append((key, erased))
    return found


def _logs(instance: dg.DagsterInstance) -> list[Path]:
    home = Path(instance.root_directory)
    return sorted(path for path in home.rglob("*") if path.suffix in LOGS and path.is_file())
