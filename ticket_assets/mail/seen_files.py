"""Which files of a folder have been dealt with: a memory on disk that costs no reading of them."""

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
    messages integer not null, is_done integer not null
) without rowid
"""


class FileVersion(NamedTuple):
    """A file by its name below the folder, and what changes when it is written to."""

    name: str
    size: int = 0
    modified_ns: int = 0


class Progress(NamedTuple):
    """How far a version of a file has been dealt with."""

    messages: int
    is_done: bool


class SeenFiles:
    """The files of one folder that have been dealt with, by name, size and time.

    Each call is one transaction, on disk when it returns. A memory that is lost or damaged costs
    a second reading and nothing else, as the landing zone knows its messages.
    """

    def __init__(self, cursors_dir: Path, folder: Path) -> None:
        key = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:20]
        self._path = cursors_dir / f"{key}.sqlite"
        cursors_dir.mkdir(parents=True, exist_ok=True)
        try:
            with closing(self._connect()) as connection:
                connection.execute(_SCHEMA)
        except sqlite3.OperationalError:
            raise  # it cannot be opened, which is not its fault
        except sqlite3.DatabaseError:
            self._path.unlink()
            with closing(self._connect()) as connection:
                connection.execute(_SCHEMA)

    def progress(self) -> dict[FileVersion, Progress]:
        """Every version that is remembered."""
        with closing(self._connect()) as connection:
            rows = connection.execute(
                "select name, size, modified_ns, messages, is_done from seen"
            ).fetchall()
        return {
            FileVersion(os.fsdecode(name), size, modified): Progress(messages, bool(is_done))
            for name, size, modified, messages, is_done in rows
        }

    def remember(self, files: Iterable[FileVersion], messages: int = 0, *, done: bool) -> None:
        """Remember that so many messages of each file have landed, or all (`done`) there will."""
        rows = [
            (os.fsencode(file.name), file.size, file.modified_ns, messages, done) for file in files
        ]
        with closing(self._connect()) as connection, connection:
            connection.executemany("insert or replace into seen values (?, ?, ?, ?, ?)", rows)

    def forget(self, files: Iterable[FileVersion]) -> None:
        """Forget files that are no longer there, so that the memory does not grow for ever."""
        names = [(os.fsencode(file.name),) for file in files]
        with closing(self._connect()) as connection, connection:
            connection.executemany("delete from seen where name = ?", names)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)
