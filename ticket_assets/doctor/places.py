"""Files where folders belong, folders where files belong, and what dead writers left unfinished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ticket_assets.desk_record import FILE, DeskRecordError, read_record
from ticket_assets.doctor.findings import REPAIR, Finding, first_of
from ticket_assets.half_restored import BackupError, refuse_half_restored
from ticket_assets.mail.category_changes import CategoryChangeError
from ticket_assets.mail.changed_days import MESSAGE_FILE, iso_day
from ticket_assets.mail.landing import ERASED, FIRST_DAY, LABELS, MANIFESTS, PURGED_UNTIL
from ticket_assets.plural import counted
from ticket_assets.storage.inventory import PLACES
from ticket_assets.storage.set_aside import SET_ASIDE, set_aside

if TYPE_CHECKING:
    from ticket_assets.desk import Desk

FOLDERS = [place.name for place in PLACES if place.is_folder]
FILES = [*(place.name for place in PLACES if not place.is_folder), "dagster/dagster.yaml"]


def examine_places(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """Each part of the data folder is a folder or a file as it should be."""
    wrong = [path for path in _folders(desk.folder) if path.exists() and not path.is_dir()]
    wrong += [path for path in _files(desk.folder) if path.is_dir()]
    for path in wrong:
        is_folder = path.is_dir()
        if repair:
            set_aside(desk.folder, path)
        yield Finding(
            "a folder where a file belongs" if is_folder else "a file where a folder belongs",
            str(path),
            f"moved to {desk.folder / SET_ASIDE}" if repair else f"{REPAIR} moves it away",
            repair,
        )


def examine_remains(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """No dead writer has left half of a file."""
    if remains := desk.remove_unfinished(dry_run=not repair):
        yield Finding(
            f"{counted(len(remains), 'file')} that a dead process left unfinished",
            first_of([str(path) for path in remains]),
            "removed" if repair else f"{REPAIR} removes them, as does the next command that lands",
            repair,
        )


def examine_record(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """No restore and no change of categories was interrupted, and the record of the desk's
    settings can be read."""
    try:
        refuse_half_restored(desk.files)
    except BackupError as error:
        yield Finding("a restore has not ended", desk.files.location, str(error))
    try:
        desk.landing.category_changes.refuse_pending()
    except CategoryChangeError as error:
        yield Finding("a change of categories has not ended", desk.files.location, str(error))
    try:
        read_record(desk.files)
    except DeskRecordError:
        if repair:
            desk.files.delete([FILE])
        yield Finding(
            "the record of the settings cannot be read",
            f"{desk.files.location}/{FILE}",
            f"{'removed' if repair else f'{REPAIR} removes it'}: the next start takes the encoder"
            " from the tables, and the rest from the present settings; look at them before",
            repair,
        )


def _folders(data: Path) -> Iterator[Path]:
    yield from (data / name for name in FOLDERS)
    for day in _days(data):
        yield from (day, day / MANIFESTS)


def _files(data: Path) -> Iterator[Path]:
    yield from (data / name for name in FILES)
    yield from (data / "landing" / name for name in (FIRST_DAY, PURGED_UNTIL))
    yield from (data / "models" / name for name in ("champion.json", "candidate.json"))
    folders = [data / "cursors", data / "landing" / LABELS, data / "landing" / ERASED]
    for day in _days(data):
        folders.append(day / MANIFESTS)
        yield from (path for path in _children(day) if MESSAGE_FILE.fullmatch(path.name))
    for folder in folders:
        yield from _children(folder)


def _days(data: Path) -> list[Path]:
    return [path for path in _children(data / "landing") if iso_day(path.name)]


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
