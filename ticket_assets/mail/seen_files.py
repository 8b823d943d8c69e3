"""A memory on disk of the files of a folder that have been read."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

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

    Each call is one transaction, on disk when it returns. A memory that is lost or damaged costs
    a second reading alone, since the landing zone knows its messages.
    """

    def __init__(self, cursors_dir: Path, folder: Path) -> None:
        self._path = self._file(cursors_dir, folder)
        cursors_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._prepare()
        except sqlite3.OperationalError:
            raise  # it cannot be opened, which is not its fault
        except sqlite3.DatabaseError:
            self._path.unlink()
            self._prepare()

    def _prepare(self) -> None:
        with closing(self._connect()) as connection, connection:
            connection.execute(_SCHEMA)
            present = {row[1] for row in connection.execute("pragma table_info(seen)")}
            for column in _GAINED:
                if column not in present:
                    connection.execute(f"alter table seen add column {column} text")
            if not present.issuperset(_GAINED):
                # Version 0.1.0 recorded refused files like mail: both are read once more.
                connection.execute("delete from seen where is_done and messages = 0")

    def progress(self) -> dict[FileVersion, Progress]:
        """Every version that is remembered."""
        with closing(self._connect()) as connection:
            rows = connection.execute(
                "select name, size, modified_ns, messages, is_done, refusal, reader from seen"
            ).fetchall()
        return {
            FileVersion(os.fsdecode(name), size, modified): Progress(
                messages, bool(is_done), refusal, reader
            )
            for name, size, modified, messages, is_done, refusal, reader in rows
        }

    def refuse(self, file: FileVersion, refusal: str, reader: str | None) -> None:
        """Remember why a file cannot be used with the settings that `reader` identifies."""
        row = (os.fsencode(file.name), file.size, file.modified_ns, refusal, reader)
        with closing(self._connect()) as connection, connection:
            connection.execute("insert or replace into seen values (?, ?, ?, 0, true, ?, ?)", row)

    def remember(self, files: Iterable[FileVersion], messages: int = 0, *, done: bool) -> None:
        """Remember that so many messages of each file have landed; `done`: the file is read."""
        rows = [
            (os.fsencode(file.name), file.size, file.modified_ns, messages, done) for file in files
        ]
        with closing(self._connect()) as connection, connection:
            connection.executemany(
                "insert or replace into seen values (?, ?, ?, ?, ?, null, null)", rows
            )

    def forget(self, files: Iterable[FileVersion]) -> None:
        """Forget files that are no longer there, so that the memory does not grow for ever."""
        names = [(os.fsencode(file.name),) for file in files]
        with closing(self._connect()) as connection, connection:
            connection.executemany("delete from seen where name = ?", names)

    @classmethod
    def refusals(cls, cursors_dir: Path, folder: Path) -> tuple[str, ...]:
        """Why files that are still in the folder cannot be used, by name."""
        if not cls._file(cursors_dir, folder).exists():
            return ()
        remembered = sorted(cls(cursors_dir, folder).progress().items())
        return tuple(
            progress.refusal
            for version, progress in remembered
            if progress.refusal and (folder / version.name).exists()
        )

    @staticmethod
    def _file(cursors_dir: Path, folder: Path) -> Path:
        key = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:20]
        return cursors_dir / f"{key}.sqlite"

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)
