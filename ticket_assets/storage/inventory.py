"""Everything that the product writes into a data folder, in one list.

A backup copies from it, an erasure tells from it what it has not searched, `tickets doctor` which
part has to be a folder. What is there only while a process writes, `unfinished.py` knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ticket_assets.settings import Settings


@dataclass(frozen=True)
class Place:
    """A folder or a file of the data folder; what goes with it has its name and an ending."""

    name: str
    is_folder: bool = True
    elsewhere: str | None = None
    """The setting with which another store is in use and this one, if it is there, is left over."""
    is_copied: bool = False
    """Whether a backup copies its files as they are."""

    def holds(self, name: str) -> bool:
        """Whether a name in the data folder is this place, or a part of it while it is written."""
        own = re.escape(self.name)
        return bool(re.fullmatch(rf"{own}(\.wal|\.tmp)?|\.{own}\..+", name))


PLACES = (
    Place("cursors", elsewhere="files", is_copied=True),
    Place("models", elsewhere="files", is_copied=True),
    Place("reports", elsewhere="files", is_copied=True),
    Place("landing", elsewhere="files"),
    Place("desk.json", is_folder=False, elsewhere="files"),
    Place("backups.json", is_folder=False, elsewhere="files"),
    Place("restoring.json", is_folder=False, elsewhere="files"),
    Place("warehouse.duckdb", is_folder=False, elsewhere="warehouse"),
    Place("collection", elsewhere="chroma_url"),
    Place("dagster"),
)
OTHERS = (Place("set_aside"), Place("duckdb"), Place("sample"))
"""Damaged files, which an erasure removes unseen; rows that did not fit into the memory, encrypted;
made-up mail."""


def not_searched(settings: Settings) -> list[Path]:
    """What lies in the data folder and no part of the desk uses, so that no erasure looks into it:
    stores of settings that were changed since, and what a person has put there."""
    data = settings.data_dir
    paths = sorted(data.iterdir()) if data.is_dir() else []
    used = [
        place
        for place in PLACES
        if place.elsewhere is None or getattr(settings, place.elsewhere) is None
    ]
    return [
        path
        for path in paths
        if not any(place.holds(path.name) for place in (*used, *OTHERS))
        and path != settings.encoders_dir
        and _holds_files(path)
    ]


def _holds_files(path: Path) -> bool:
    return not path.is_dir() or any(below.is_file() for below in path.rglob("*"))
