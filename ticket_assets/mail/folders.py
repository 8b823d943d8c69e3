"""Mail taken from folders on disk, a drop folder and a Maildir: files stay, each is read once."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.corrections import land_corrections, open_corrections
from ticket_assets.mail.exports import TABLE_SUFFIXES, Table, TableReading
from ticket_assets.mail.importing import read_mailbox
from ticket_assets.mail.input_files import ExportError, InputFile, no_file, scanned
from ticket_assets.mail.labels import LabelSet, UnknownLabelError
from ticket_assets.mail.landing import BATCH_MESSAGES, IncomingMessage, LandingReport, LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.seen_files import FileVersion, SeenFiles
from ticket_assets.settings import DateOrder
from ticket_assets.storage.blobs import Blobs
from ticket_assets.text.characters import visible

SETTLED_SECONDS = 10.0
"""A file is taken once it has not changed for so long: before, someone may still be writing it."""
POLLED_BYTES = 100 * 1024 * 1024
"""A poll with a deadline would read a larger file for minutes, and then could not land it."""
POLLED_WORKBOOK_BYTES = 10 * 1024 * 1024
"""The same of a workbook, which is packed and ten times as slow to read."""
_UNFINISHED_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload")


class FolderError(TicketAssetsError):
    """A folder that mail is taken from cannot be read."""


@dataclass
class FolderReport:
    """What one look into a folder changed."""

    landed: int = 0
    already_there: int = 0
    older: int = 0
    undated: int = 0
    labels: int = 0
    remaining: int = 0
    """Files that wait for the next look."""
    days: set[date] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    """Why files cannot be used, for those that the look before did not refuse alike."""
    tables: list[TableReading] = field(default_factory=list)
    """How tables were understood that have landed now."""
    early_labels: list[str] = field(default_factory=list)
    """Which labels wait for their message, for those that have landed now."""

    def add(self, report: LandingReport) -> None:
        self.landed += report.landed
        self.already_there += report.already_there
        self.older += report.older
        self.undated += report.undated
        self.days.update(report.days)


class _File(NamedTuple):
    version: FileVersion
    file: InputFile
    changed_at: float = 0.0


def poll_maildir(
    landing: LandingZone,
    folder: Path,
    cursors: Blobs,
    *,
    max_messages: int,
    deadline: float = math.inf,
    first_day: date | None = None,
    on_message: Callable[[IncomingMessage], None] | None = None,
) -> FolderReport:
    """Land the messages of a Maildir that were not there before; nothing in it is moved.

    A message is known by its name before `:2,`, which stays the same when it is read, flagged or
    moved from `new` to `cur`. What is no file is refused. `deadline` is one of `time.monotonic()`.

    Raises:
        FolderError: there is no Maildir.
        BlobStoreError: the landing zone cannot be written.
    """
    try:
        files, refusals = _maildir_files(folder)
    except OSError as error:
        raise FolderError(
            f"Cannot read the Maildir {folder}: {error.strerror} ({error.filename}). Check"
            " TICKETS_MAILDIR and its permissions."
        ) from None
    with SeenFiles(cursors, folder) as seen:
        look = _Look(landing, seen, deadline, first_day, on_message)
        seen.forget(look.known.keys() - files.keys() - refusals.keys())
        for version, reason in refusals.items():
            look.refuse(version, reason, again=True)
        waiting = sorted(version for version in files if not look.is_done(version))
        look.land_mails(
            [_File(version, files[version]) for version in waiting[:max_messages]],
            lambda file: [mail_message(file.read(), f"maildir:{folder.name}")],
        )
        look.report.remaining += len(waiting[max_messages:])
    return look.report


def maildir_refusals(folder: Path, cursors: Blobs) -> tuple[str, ...]:
    """Why what is still in a Maildir cannot be used, as far as polls have seen it, by name."""
    remembered = SeenFiles.refusals(cursors, folder)
    try:
        files, refusals = _maildir_files(folder) if remembered else ({}, {})
    except OSError:
        return ()
    present = {version.name for version in (*files, *refusals)}
    return tuple(reason for name, reason in remembered.items() if name in present)


def drop_folder_refusals(folder: Path, cursors: Blobs) -> tuple[str, ...]:
    """The same of a drop folder."""
    remembered = SeenFiles.refusals(cursors, folder)
    return tuple(reason for name, reason in remembered.items() if os.path.lexists(folder / name))


def poll_drop_folder(
    landing: LandingZone,
    folder: Path,
    cursors: Blobs,
    *,
    categories: Iterable[str],
    priorities: Iterable[str],
    max_messages: int,
    column_mapping: Mapping[str, str] | None = None,
    date_order: DateOrder | None = None,
    deadline: float = math.inf,
    first_day: date | None = None,
    on_message: Callable[[IncomingMessage], None] | None = None,
    settled_seconds: float = SETTLED_SECONDS,
) -> FolderReport:
    """Land the mail and the labels in a folder and below it; files stay as they are.

    A file is read when its name, size or time is new, and has been left alone for
    `settled_seconds`. One that was refused, as a table is whose dates could be read both ways, is
    read again when the labels, the columns or `date_order` change.
    Names that begin with a dot or end like an unfinished copy are passed over; what is no file is
    refused. `deadline` is one of
    `time.monotonic()`: the next poll goes on with the file that it interrupts, and a poll with a
    deadline refuses files above POLLED_BYTES. `max_messages` counts `.eml` files.

    Raises:
        FolderError: the folder cannot be read.
        BlobStoreError: the landing zone cannot be written.
    """
    labels = LabelSet(categories, priorities, landing.former_categories())
    limit = POLLED_BYTES if deadline != math.inf else None
    reader = _reader(labels, column_mapping, date_order, limit)
    with SeenFiles(cursors, folder) as seen:
        look = _Look(landing, seen, deadline, first_day, on_message, reader=reader)
        files, refusals = _files(folder)
        names = {version.name for version in (*(file.version for file in files), *refusals)}
        seen.forget(version for version in look.known if version.name not in names)
        for version, reason in refusals.items():
            look.refuse(version, reason, again=True)
        due = look.due(files, time.time() - settled_seconds, limit)
        mails = [file for file in due if file.file.suffix == ".eml"]
        look.land_mails(
            mails[:max_messages],
            lambda file: [
                replace(imported.message, source=f"eml:{folder.name}")
                for imported in read_mailbox(file.path, folder=folder)
            ],
        )
        look.report.remaining += len(mails[max_messages:])
        for file in due:
            if file.file.suffix != ".eml":
                look.land_file(file, labels, column_mapping, date_order)
    return look.report


class _Look:
    """One look into a folder: lands its files, then remembers that they have landed."""

    def __init__(
        self,
        landing: LandingZone,
        seen: SeenFiles,
        deadline: float,
        first_day: date | None,
        on_message: Callable[[IncomingMessage], None] | None,
        *,
        reader: str = "",
    ) -> None:
        self.known = seen.progress()
        """The memory of former looks."""
        self._reader = reader
        self._landing = landing
        self._seen = seen
        self._deadline = deadline
        self._first_day = first_day
        self._on_message = on_message
        self.report = FolderReport()

    @property
    def is_late(self) -> bool:
        return monotonic() >= self._deadline

    def is_done(self, version: FileVersion) -> bool:
        """Whether reading the file, as it is now and with these settings, changes nothing."""
        progress = self.known.get(version)
        if progress is None or not progress.is_done:
            return False
        return not progress.refusal or progress.reader == self._reader

    def due(self, files: list[_File], settled_at: float, limit: int | None) -> list[_File]:
        """The files to read now. A file above `limit` bytes is refused; one that has changed after
        `settled_at` waits for the next look."""
        due = []
        for file in files:
            if self.is_done(file.version):
                continue
            if file.changed_at > settled_at:
                self.report.remaining += 1
            elif limit is not None and file.version.size > (most := _most_bytes(file, limit)):
                size = f"{file.file.path} exceeds {most >> 20} MB"
                self.refuse(file.version, f"{size}: land it with `tickets fetch`.")
            else:
                due.append(file)
        return due

    def refuse(self, version: FileVersion, reason: str, *, again: bool = False) -> None:
        """Remember why a file cannot be used. It is read again once it or the settings change, or
        by the next look (`again`)."""
        if not again:
            reason += " It is tried again once it or the settings have changed."
        reason = visible(reason)  # as it is remembered
        if version not in self.known or self.known[version].refusal != reason:
            self.report.problems.append(reason)
        self._seen.refuse(version, reason, None if again else self._reader)

    def land_mails(
        self,
        files: list[_File],
        read: Callable[[InputFile], list[IncomingMessage]],
    ) -> None:
        """Land small files together."""
        on_the_way: deque[FileVersion | None] = deque()
        on_disk: list[FileVersion] = []
        unread = len(files)

        def messages() -> Iterator[IncomingMessage]:
            nonlocal unread
            for version, file, _ in files:
                if self.is_late:
                    return
                unread -= 1
                try:
                    contents = read(file)
                except FileNotFoundError:
                    continue  # a mail program has moved it meanwhile: the next look finds it
                except ExportError as error:
                    self.refuse(version, str(error))
                    continue
                except OSError as error:
                    self.refuse(version, _unreadable(file.path, error), again=True)
                    continue
                on_the_way.extend([*[None] * (len(contents) - 1), version])
                yield from contents

        def landed(message: IncomingMessage) -> None:
            if version := on_the_way.popleft():
                on_disk.append(version)
            if len(on_disk) == BATCH_MESSAGES:
                self._seen.remember(on_disk, done=True)
                on_disk.clear()
            if self._on_message:
                self._on_message(message)

        try:
            self.report.add(self._landing.land(messages(), landed, self._first_day))
        finally:
            self._seen.remember(on_disk, done=True)
        self.report.remaining += unread

    def land_file(
        self,
        file: _File,
        allowed: LabelSet,
        column_mapping: Mapping[str, str] | None,
        date_order: DateOrder | None,
    ) -> None:
        """Land a mailbox or an export behind the messages that have landed, then its labels; or a
        table of corrections."""
        if self.is_late:
            self.report.remaining += 1
            return
        path, mapping = file.file.path, None
        if file.file.suffix in TABLE_SUFFIXES:
            mapping = column_mapping
        done = self.known[file.version].messages if file.version in self.known else 0
        is_done = False
        readings: list[TableReading] = []
        read = partial(
            read_mailbox,
            path,
            folder=file.file.folder,
            column_mapping=mapping,
            date_order=date_order,
        )

        def messages() -> Iterator[IncomingMessage]:
            nonlocal done, is_done
            for imported in islice(read(), done, None):
                yield imported.message
                done += 1
                # At least a batch, however long the skipping took, so that each look gets further.
                if self.is_late and done % BATCH_MESSAGES == 0:
                    return
            is_done = True

        try:
            corrections = open_corrections(file.file, mapping, date_order)
            if corrections:
                self._land_corrections(file.version, corrections, allowed)
                return
            # As in an import, a file that is damaged or has an unknown label lands nothing.
            labels = [imported.label for imported in read(readings=readings) if imported.label]
            allowed.check(labels, str(path))
            for reading in readings:
                reading.require_date_order()
            self.report.add(self._landing.land(messages(), self._on_message, self._first_day))
        except (ExportError, UnknownLabelError) as error:
            self.refuse(file.version, str(error))
            return
        except OSError as error:
            self.refuse(file.version, _unreadable(path, error), again=True)
            return
        if is_done:
            self.report.tables += readings
            self.report.labels += self._landing.land_labels(allowed.matched(labels))
        else:
            self.report.remaining += 1
        self._seen.remember([file.version], done, done=is_done)

    def _land_corrections(
        self, version: FileVersion, corrections: Table, allowed: LabelSet
    ) -> None:
        """Land the rows that can be used; the others stand as the file's refusal."""
        path = corrections.file.path
        report = land_corrections(self._landing, corrections, allowed)
        self.report.labels += report.landed
        if report.waiting:
            self.report.early_labels.append(visible(f"{path}: {report.waiting}"))
        if report.refusal:
            self.refuse(version, f"{path}: {report.refusal}")
        else:
            self._seen.remember([version], 0, done=True)


def _reader(
    labels: LabelSet,
    column_mapping: Mapping[str, str] | None,
    date_order: DateOrder | None,
    limit: int | None,
) -> str:
    """What identifies the settings that decide whether a file can be used."""
    columns = sorted((column_mapping or {}).items())
    parts = [labels.categories, labels.priorities, columns, date_order, limit]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _most_bytes(file: _File, limit: int) -> int:
    is_workbook = TABLE_SUFFIXES.get(file.file.suffix) == "workbook"
    return min(limit, POLLED_WORKBOOK_BYTES) if is_workbook else limit


def _unreadable(path: Path, error: OSError) -> str:
    elsewhere = f" ({error.filename})" if error.filename not in (None, str(path)) else ""
    return f"Cannot read {path}: {error.strerror}{elsewhere}."


def _maildir_files(
    folder: Path,
) -> tuple[dict[FileVersion, InputFile], dict[FileVersion, str]]:
    """The messages of a Maildir, and why what else is there cannot be read.

    Raises:
        OSError: there is no Maildir.
    """
    files: dict[FileVersion, InputFile] = {}
    refusals: dict[FileVersion, str] = {}
    for name in ("new", "cur"):
        with scanned(folder, Path(name)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                version = FileVersion(entry.name.partition(":2,")[0])
                path = folder / name / entry.name
                if entry.is_file(follow_symlinks=False):
                    files[version] = InputFile(path, folder)
                elif reason := _no_file(entry, path):
                    refusals[version] = reason
    return files, {version: refusals[version] for version in refusals.keys() - files.keys()}


def _files(folder: Path) -> tuple[list[_File], dict[FileVersion, str]]:
    """The files below a folder, and why what else is there cannot be read."""
    files: list[_File] = []
    refusals: dict[FileVersion, str] = {}
    folders = [Path()]
    while folders:
        current = folders.pop()
        try:
            with scanned(folder, current) as entries:
                # The files in a Maildir's `tmp` are still being delivered.
                is_maildir = {"cur", "new"} <= {entry.name for entry in entries}
                for entry in entries:
                    name = entry.name.lower()
                    if name.startswith(".") or name.endswith(_UNFINISHED_SUFFIXES):
                        continue
                    inner = current / entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if not (is_maildir and entry.name == "tmp"):
                            folders.append(inner)
                    elif not entry.is_file(follow_symlinks=False):
                        if reason := _no_file(entry, folder / inner):
                            refusals[FileVersion(str(inner))] = reason
                    elif status := _status(entry):
                        version = FileVersion(str(inner), status.st_size, status.st_mtime_ns)
                        # A copy keeps the original's time of writing, but not that of its change.
                        files.append(
                            _File(version, InputFile(folder / inner, folder), status.st_ctime)
                        )
        except OSError as error:
            if current == Path():
                raise FolderError(
                    f"Cannot read the drop folder {folder}: {error.strerror}. Check"
                    " TICKETS_DROP_FOLDER and its permissions."
                ) from None
            refusals[FileVersion(f"{current}/")] = _unreadable(folder / current, error)
    return files, refusals


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """An entry's own status; None when it has gone meanwhile."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _no_file(entry: os.DirEntry[str], path: Path) -> str | None:
    status = _status(entry)
    return _unreadable(path, no_file(path, status.st_mode)) if status else None
