"""A memory of the files of a folder that have been read."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ticket_assets.storage.blobs import BlobNotFoundError, Blobs
from ticket_assets.text.characters import visible

SAVE_SECONDS = 10.0
"""A process that is killed reads again what it has read since."""

_SCHEMA = """
create table if not exists seen (
    name blob primary key, size integer not null, modified_ns integer not null,
    messages integer not null, is_done integer not null, refusal text, reader text
) without rowid
"""
_GAINED = ("refusal", "reader")
"""Columns of later versions of the table."""


class FileVersion(NamedTuple):
    """A file by its name below the folder, and by size and time, which writing to it changes."""

    name: str
    size: int = 0
    modified_ns: int = 0


class Progress(NamedTuple):
    """How much of a version of a file has landed."""

    messages: int
    is_done: bool
    refusal: str | None = None
    """Why the file cannot be used."""
    reader: str | None = None
    """What identifies the settings with which it could not be used."""


class SeenFiles:
    """The files of one folder that have been read, by name, size and time.

    The memory is a SQLite database that is read from one blob and written back to it: at the end
    of the `with` block, and meanwhile by `remember` every SAVE_SECONDS. A memory that is lost or
    damaged costs a second reading alone, since the landing zone knows its messages.
    """

    def __init__(self, cursors: Blobs, folder: Path) -> None:
        key = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:20]
        self._cursors, self._name = cursors, f"{key}.sqlite"
        self._connection = self._opened()
        self._saved_changes, self._saved_at = self._connection.total_changes, time.perf_counter()

    def __enter__(self) -> SeenFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._save()
        self._connection.close()

    def progress(self) -> dict[FileVersion, Progress]:
        """Every version that is remembered."""
        rows = self._connection.execute(
            "select name, size, modified_ns, messages, is_done, refusal, reader from seen"
        )
        return {
            FileVersion(os.fsdecode(name), size, modified): Progress(
                messages, bool(is_done), refusal, reader
            )
            for name, size, modified, messages, is_done, refusal, reader in rows
        }

    def refuse(self, file: FileVersion, refusal: str, reader: str | None) -> None:
        """Remember why a file cannot be used with the settings that `reader` identifies."""
        # It names the file, whose name need not be UTF-8.
        row = (os.fsencode(file.name), file.size, file.modified_ns, visible(refusal), reader)
        self._connection.execute("insert or replace into seen values (?, ?, ?, 0, true, ?, ?)", row)

    def remember(self, files: Iterable[FileVersion], messages: int = 0, *, done: bool) -> None:
        """Remember that so many messages of each file have landed; `done`: the file is read."""
        rows = [
            (os.fsencode(file.name), file.size, file.modified_ns, messages, done) for file in files
        ]
        self._connection.executemany(
            "insert or replace into seen values (?, ?, ?, ?, ?, null, null)", rows
        )
        if time.perf_counter() - self._saved_at > SAVE_SECONDS:
            self._save()

    def forget(self, files: Iterable[FileVersion]) -> None:
        """Forget files that are no longer there, so that the memory does not grow for ever."""
        names = [(os.fsencode(file.name),) for file in files]
        self._connection.executemany("delete from seen where name = ?", names)

    @classmethod
    def refusals(cls, cursors: Blobs, folder: Path) -> dict[str, str]:
        """Why files cannot be used that were in the folder when it was last looked at, by name."""
        with cls(cursors, folder) as seen:
            remembered = sorted(seen.progress().items())
        return {
            version.name: progress.refusal for version, progress in remembered if progress.refusal
        }

    def _opened(self) -> sqlite3.Connection:
        """The remembered database; a new one if there is none, or if it is damaged."""
        with suppress(BlobNotFoundError, sqlite3.DatabaseError):
            return _database(self._cursors.read(self._name))
        return _database(b"")

    def _save(self) -> None:
        if self._connection.total_changes == self._saved_changes:
            return
        self._cursors.replace(self._name, self._connection.serialize())
        self._saved_changes, self._saved_at = self._connection.total_changes, time.perf_counter()


def _database(content: bytes) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    if content:
        connection.deserialize(content)
    connection.execute(_SCHEMA)
    present = {row[1] for row in connection.execute("pragma table_info(seen)")}
    for column in _GAINED:
        if column not in present:
            connection.execute(f"alter table seen add column {column} text")
    if not present.issuperset(_GAINED):
        # Version 0.1.0 recorded refused files like mail: both are read once more.
        connection.execute("delete from seen where is_done and messages = 0")
    return connection
