"""Copies of a desk in another folder or bucket, and the way back from there.

A target holds the original messages once, each under its name in the landing zone, and beside them
snapshots of everything else. So a backup that is made every night copies the new mail only, and all
snapshots share it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ticket_assets.delivery.state import DeliveryError, change_state, read_state
from ticket_assets.half_restored import RESTORING, BackupError, refuse_half_restored
from ticket_assets.mail.changed_days import INDEX, MESSAGE_FILE
from ticket_assets.mail.landing import DamagedOriginalError, is_damaged, ticket_id_of
from ticket_assets.mail.removal import removing
from ticket_assets.storage.blobs import BlobNotFoundError, Blobs, BlobStoreError
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.inventory import PLACES
from ticket_assets.storage.tables import DAY_TABLES
from ticket_assets.storage.unfinished import scratch_folder

if TYPE_CHECKING:
    from ticket_assets.desk import Desk

Progress = Callable[[str, int], None]
"""Called with what is copied and how many of it have been."""

FORMAT = 1
"""Raise it when a snapshot can no longer be restored by the code before."""
OWNER = "desk.json"
"""At the target: which desk it belongs to."""
TARGETS = "backups.json"
"""At the desk: its name at the targets, and where they are."""
SNAPSHOT = "snapshot.json"
"""Written last: a folder without it is no snapshot."""
FILES = [place.name for place in PLACES if place.is_copied]
"""Folders of the desk that are copied. Cursors go first: they must not be ahead of the mail."""
RECORD = "desk.json"
DAGSTER = "dagster"
PARQUET_BYTES = 64_000_000
BATCH_FILES = 500
BATCH_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Snapshot:
    """A copy of a desk's state; the original messages are beside it."""

    name: str
    """Its time (UTC), like 20261127T031500000000Z."""
    created_at: str
    messages: int
    """Original messages at the target when it was made."""
    rows: Mapping[str, int]
    """By table."""
    vector_length: int | None
    files: Mapping[str, str]
    """SHA-256 of each file, by its name in the snapshot."""
    format: int = FORMAT


@dataclass(frozen=True)
class Restored:
    """What a restore has brought back."""

    snapshot: Snapshot
    messages: int
    erased: int
    """Tickets that were erased after the snapshot was made, and now again."""
    is_delivery_stopped: bool
    """Whether decisions were delivered, or about to be, when the snapshot was made."""


def back_up(desk: Desk, target: str, *, keep: int, on_progress: Progress | None = None) -> Snapshot:
    """Copy the desk to a folder or `s3://bucket/prefix`; older snapshots than the last `keep` go.

    Runs may be at work, and mail may land: the tables are read in one transaction, and mail that
    no table of the snapshot knows is sorted after a restore. Erasures and purges wait.

    Raises:
        BackupError: there is nothing to copy, or the target belongs to another desk.
        LandingError: an erasure or purge is under way.
        DamagedOriginalError: the snapshot is complete but for damaged originals, which it names.
        BlobStoreError, WarehouseError: a store cannot be read, or the target cannot be written.
    """
    blobs = _target(desk, target)
    on_progress = on_progress or (lambda *_: None)
    with removing(desk.landing, desk.leases):
        if not _holds_tables(desk) and not desk.landing.days():
            raise BackupError(f"There is nothing to back up in {desk.files.location}.")
        desk.remove_unfinished()
        _own(desk, blobs)
        blobs.remove_unfinished()
        created_at = datetime.now(UTC)
        name = f"{created_at:%Y%m%dT%H%M%S%fZ}"
        folder = blobs.under(f"snapshots/{name}")
        files: dict[str, str] = {}
        folder.write(_digested(_state(desk), files, on_progress))
        for database, content in _digested(_databases(desk), files, on_progress):
            folder.replace(database, content)  # one at a time: they may be large
        rows, vector_length = _copy_tables(desk, folder, files, on_progress)
        _note_erased(blobs, desk.landing.erased())
        messages, damaged = _mirror_messages(desk, blobs, on_progress)
        snapshot = Snapshot(name, created_at.isoformat(), messages, rows, vector_length, files)
        folder.replace(SNAPSHOT, _json(asdict(snapshot)))
        _remember(desk, blobs.location)
    for older in _names(blobs)[:-keep]:
        _remove(blobs, older)
    if damaged:
        raise DamagedOriginalError(f"{desk.files.location}/landing", damaged)
    return snapshot


def snapshots(desk: Desk, target: str) -> list[Snapshot]:
    """The snapshots at a target, oldest first.

    Raises:
        BackupError: there is none, or one was made by a newer version.
        BlobStoreError: the target cannot be read.
    """
    blobs = _target(desk, target)
    found = [_snapshot(blobs, name) for name in _names(blobs)]
    if not found:
        raise BackupError(
            f"There is no backup at {blobs.location}. `tickets backup TARGET` makes one."
        )
    return found


def restore(
    desk: Desk, target: str, name: str | None = None, *, on_progress: Progress | None = None
) -> Restored:
    """Bring a snapshot (the latest, or the one of this `name`) back to a desk that is empty.

    What was erased after it was made is erased again. Delivery is stopped: nobody here knows what
    was delivered since, or whether the desk that was copied still delivers. A restore that was
    interrupted is completed by the same call; until then the desk refuses to work. The collection
    is not in a backup: rebuild it from the tables afterwards.

    Raises:
        BackupError: the desk holds something, there is no such snapshot, or a file of it is not
            the one that was written.
        BlobStoreError, WarehouseError: the target cannot be read, or a store not be written.
    """
    on_progress = on_progress or (lambda *_: None)
    blobs = _target(desk, target)
    found = snapshots(desk, target)
    snapshot = next((one for one in reversed(found) if name in {None, one.name}), None)
    if snapshot is None:
        raise BackupError(
            f"There is no snapshot {name} at {blobs.location}; the latest is {found[-1].name}."
        )
    _begin(desk, blobs.location, snapshot.name)
    folder = blobs.under(f"snapshots/{snapshot.name}")
    landing = desk.files.under("landing")
    messages = _bring_messages(blobs, landing, on_progress)
    _bring_files(desk, folder, snapshot, on_progress)
    landing.delete([INDEX])  # it is of the moment of the snapshot; the messages may be later
    _bring_tables(desk, folder, snapshot, on_progress)
    erased = _erased_since(desk, blobs)
    if erased:
        from ticket_assets.erasure import erase

        erase(desk, erased)
    is_stopped = _stop_delivery(desk)
    _remember(desk, blobs.location)
    desk.files.delete([RESTORING])
    return Restored(snapshot, messages, len(erased), is_stopped)


def tell_backups(desk: Desk, erased: Collection[str]) -> dict[str, str | None]:
    """Tell each target of an erasure, so that a restore repeats it, and remove the messages there.

    Returns, by target, None or why it cannot be told. Snapshots made before still hold the texts of
    the tables until they are removed.
    """
    told: dict[str, str | None] = {}
    for location in _registered(desk)["targets"]:
        try:
            blobs = _target(desk, location)
            _note_erased(blobs, set(erased))
            mirror = blobs.under("landing")
            mirror.delete(_of_tickets((blob.name for blob in mirror.list()), erased))
            blobs.remove_unfinished()
            told[location] = None
        except BlobStoreError as error:
            told[location] = str(error)
    return told


def _target(desk: Desk, target: str) -> Blobs:
    return desk.blobs_at(target if target.startswith("s3://") else Path(target).absolute())


def _own(desk: Desk, blobs: Blobs) -> None:
    """Give an empty target to the desk."""
    registered = _registered(desk)
    desk.files.create(TARGETS, _json(registered))
    name = registered["desk"]
    if not blobs.create(OWNER, _json({"desk": name, "format": FORMAT})):
        owner = json.loads(blobs.read(OWNER))["desk"]
        if owner != name:
            raise BackupError(
                f"{blobs.location} holds the backups of another desk. Choose another target, or"
                " remove them."
            )


def _registered(desk: Desk) -> dict[str, Any]:
    """The desk's name at its targets, and where they are; a new name while there are none."""
    try:
        registered: dict[str, Any] = json.loads(desk.files.read(TARGETS))
    except BlobNotFoundError:
        return {"desk": uuid4().hex, "targets": []}
    return registered


def _remember(desk: Desk, location: str) -> None:
    registered = _registered(desk)
    if location not in registered["targets"]:
        registered["targets"].append(location)
        desk.files.replace(TARGETS, _json(registered))


def _state(desk: Desk) -> Iterator[tuple[str, bytes]]:
    """Everything but messages and tables, with its name in the snapshot."""
    for folder in FILES:
        blobs = desk.files.under(folder)
        # What names others goes first: they exist longer than it names them.
        names = sorted((blob.name for blob in blobs.list()), key=lambda name: ("/" in name, name))
        for name, content in blobs.read_many(names):
            yield f"files/{folder}/{name}", content
    for name, content in desk.files.read_many([RECORD, TARGETS]):
        yield f"files/{name}", content
    landing = desk.files.under("landing")
    others = [blob.name for blob in landing.list() if not _is_message(blob.name)]
    for name, content in landing.read_many(others):
        yield f"files/landing/{name}", content


def _databases(desk: Desk) -> Iterator[tuple[str, bytes]]:
    """Dagster's databases in the data folder; runs may write to them meanwhile."""
    for path in sorted((desk.folder / DAGSTER).rglob("*.db")):
        yield f"{DAGSTER}/{path.relative_to(desk.folder / DAGSTER).as_posix()}", _database(path)


def _digested(
    contents: Iterable[tuple[str, bytes]], files: dict[str, str], on_progress: Progress
) -> Iterator[tuple[str, bytes]]:
    """The same, whose SHA-256 are then in `files`."""
    for name, content in contents:
        files[name] = hashlib.sha256(content).hexdigest()
        yield name, content
        on_progress("files", len(files))


def _database(path: Path) -> bytes:
    """The content of a SQLite file that may be written to meanwhile."""
    with scratch_folder() as scratch:
        copy = scratch / path.name
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return copy.read_bytes()


def _copy_tables(
    desk: Desk, folder: Blobs, files: dict[str, str], on_progress: Progress
) -> tuple[dict[str, int], int | None]:
    """Write each table as Parquet; returns the rows of each, and the length of the vectors."""
    from ticket_assets.storage.table_files import export_tables

    rows: dict[str, int] = {}
    vector_length = None
    with scratch_folder() as scratch:
        for table, count, length in export_tables(desk.warehouse, scratch, PARQUET_BYTES):
            rows[table] = count
            vector_length = length or vector_length
            for path in sorted((scratch / table).glob("*.parquet")):
                content = path.read_bytes()
                name = f"tables/{table}/{path.name}"
                files[name] = hashlib.sha256(content).hexdigest()
                folder.replace(name, content)
                path.unlink()
            on_progress("tables", len(rows))
    return rows, vector_length


def _mirror_messages(desk: Desk, blobs: Blobs, on_progress: Progress) -> tuple[int, list[str]]:
    """Copy the messages that the target lacks, and remove there those that the desk has erased or
    purged. One that merely is not here any more stays there.

    Returns how many it holds, and the names of the damaged originals, which are not copied.
    """
    landing, mirror = desk.files.under("landing"), blobs.under("landing")
    there = {blob.name for blob in mirror.list()}
    present = [blob for blob in landing.list() if _is_message(blob.name)]
    copied = 0
    damaged: list[str] = []
    for batch in _batches(blob for blob in present if blob.name not in there):
        contents = dict(landing.read_many(batch))
        damaged += [name for name, content in contents.items() if is_damaged(name, content)]
        mirror.write((name, contents[name]) for name in contents.keys() - set(damaged))
        copied += len(contents.keys() - set(damaged))
        on_progress("messages", copied)
    missing = there - {blob.name for blob in present}
    purged = desk.landing.purged_hashes({name.partition("/")[0] for name in missing})
    gone = _of_tickets(missing, desk.landing.erased())
    gone |= {name for name in missing if _content_hash(name) in purged}
    mirror.delete(gone)
    return len(there) + copied - len(gone), damaged


def _batches(messages: Iterable[Any]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for blob in messages:
        if batch and (len(batch) == BATCH_FILES or size + blob.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(blob.name)
        size += blob.size
    if batch:
        yield batch


def _note_erased(blobs: Blobs, erased: set[str]) -> None:
    """Have the target know of erased tickets, so that a restore erases them again."""
    if new := sorted(erased - _told(blobs)):
        lines = b"".join(_json({"ticket_id": ticket_id}) + b"\n" for ticket_id in new)
        blobs.create(f"erased/{uuid4().hex}.jsonl", lines)


def _of_tickets(names: Iterable[str], ticket_ids: Collection[str]) -> set[str]:
    """Those of the messages that are of these tickets."""
    return {name for name in names if ticket_id_of(_content_hash(name)) in ticket_ids}


def _holds_tables(desk: Desk) -> bool:
    """Whether the warehouse has rows; one on shared stores has the tables about days from the
    beginning."""
    return not desk.warehouse.tables() <= DAY_TABLES.keys()


def _begin(desk: Desk, target: str, snapshot: str) -> None:
    """Note that this snapshot is being restored, to a desk that holds nothing else."""
    source = {"target": target, "snapshot": snapshot}
    try:
        if json.loads(desk.files.read(RESTORING)) != source:
            refuse_half_restored(desk.files)
    except BlobNotFoundError:
        if desk.landing.days() or _holds_tables(desk):
            raise BackupError(
                f"{desk.files.location} holds a desk already. Restore to an empty one: set"
                " TICKETS_DATA_DIR, or move the old one away."
            ) from None
        desk.files.replace(RESTORING, _json(source))


def _bring_messages(blobs: Blobs, landing: Blobs, on_progress: Progress) -> int:
    mirror = blobs.under("landing")
    messages = list(mirror.list())
    there = {blob.name for blob in landing.list()}
    brought = len(messages) - sum(blob.name not in there for blob in messages)
    for batch in _batches(blob for blob in messages if blob.name not in there):
        landing.write(_verified(mirror, {name: _content_hash(name) for name in batch}))
        brought += len(batch)
        on_progress("messages", brought)
    return brought


def _bring_files(desk: Desk, folder: Blobs, snapshot: Snapshot, on_progress: Progress) -> None:
    ours = {name: digest for name, digest in snapshot.files.items() if name.startswith("files/")}
    desk.files.write(
        (name.removeprefix("files/"), content) for name, content in _verified(folder, ours)
    )
    databases = {
        name: digest for name, digest in snapshot.files.items() if name.startswith(f"{DAGSTER}/")
    }
    FolderBlobs(desk.folder).write(_verified(folder, databases))
    on_progress("files", len(ours) + len(databases))


def _bring_tables(desk: Desk, folder: Blobs, snapshot: Snapshot, on_progress: Progress) -> None:
    if _holds_tables(desk):
        return  # they come in one transaction: an interrupted restore has brought all of them
    from ticket_assets.storage.table_files import import_tables

    tables = {name: d for name, d in snapshot.files.items() if name.startswith("tables/")}
    with scratch_folder() as scratch:
        for name, content in _verified(folder, tables):
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        import_tables(
            desk.warehouse,
            {table: scratch / "tables" / table for table in snapshot.rows},
            snapshot.vector_length,
        )
    on_progress("tables", len(snapshot.rows))


def _verified(blobs: Blobs, digests: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Each file with its content, which has this SHA-256."""
    missing = set(digests)
    for name, content in blobs.read_many(digests):
        if hashlib.sha256(content).hexdigest() != digests[name]:
            raise BackupError(
                f"{name} in {blobs.location} is not what was written there: it is damaged. Restore"
                " another snapshot, or put back the file from another copy."
            )
        missing.discard(name)
        yield name, content
    if missing:
        raise BackupError(
            f"{blobs.location} lacks {len(missing)} files of the backup, {min(missing)} among them."
            " Restore another snapshot."
        )


def _stop_delivery(desk: Desk) -> bool:
    """Stop delivery where it had begun; returns whether it had."""
    with suppress(DeliveryError):  # with a damaged state nothing is delivered either
        state = read_state(desk.cursors)
        if state and state.first_days:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            change_state(desk.cursors, lambda state: replace(state, stopped_at=now))
            return True
    return False


def _erased_since(desk: Desk, blobs: Blobs) -> set[str]:
    """The tickets that were erased after the snapshot, as far as the target was told."""
    return _told(blobs) - desk.landing.erased()


def _told(blobs: Blobs) -> set[str]:
    told: set[str] = set()
    for _, content in blobs.read_many([f"erased/{name}" for name in blobs.names("erased")]):
        told |= {json.loads(line)["ticket_id"] for line in content.splitlines()}
    return told


def _names(blobs: Blobs) -> list[str]:
    """The names of the snapshots, oldest first; those that were not completed are none."""
    snapshots = blobs.under("snapshots")
    return [name for name in snapshots.folders() if snapshots.exists(f"{name}/{SNAPSHOT}")]


def _snapshot(blobs: Blobs, name: str) -> Snapshot:
    described = json.loads(blobs.read(f"snapshots/{name}/{SNAPSHOT}"))
    if described["format"] > FORMAT:
        raise BackupError(
            f"The snapshot {name} at {blobs.location} was made by a newer version of ticket-assets."
            " Upgrade, then restore it."
        )
    return Snapshot(**described)


def _remove(blobs: Blobs, name: str) -> None:
    folder = blobs.under(f"snapshots/{name}")
    folder.delete([SNAPSHOT])  # first: what is left is no snapshot
    folder.delete([blob.name for blob in folder.list()])


def _is_message(name: str) -> bool:
    return MESSAGE_FILE.fullmatch(name.rpartition("/")[2]) is not None


def _content_hash(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
