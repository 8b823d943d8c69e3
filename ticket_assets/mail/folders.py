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
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.exports import TABLE_SUFFIXES, ExportError
from ticket_assets.mail.importing import read_mailbox
from ticket_assets.mail.labels import LabelSet, UnknownLabelError
from ticket_assets.mail.landing import BATCH_MESSAGES, IncomingMessage, LandingReport, LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.seen_files import FileVersion, SeenFiles

SETTLED_SECONDS = 10.0
"""A file is taken once it has not changed for so long: before, someone may still be writing it."""
POLLED_BYTES = 100 * 1024 * 1024
"""Larger files would make a poll with a deadline read for minutes what it then cannot land."""
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

    def add(self, report: LandingReport) -> None:
        self.landed += report.landed
        self.already_there += report.already_there
        self.older += report.older
        self.undated += report.undated
        self.days.update(report.days)


class _Found(NamedTuple):
    version: FileVersion
    path: Path
    changed_at: float


def poll_maildir(
    landing: LandingZone,
    folder: Path,
    cursors_dir: Path,
    *,
    max_messages: int,
    deadline: float = math.inf,
    first_day: date | None = None,
    on_message: Callable[[IncomingMessage], None] | None = None,
) -> FolderReport:
    """Land the messages of a Maildir that were not there before; nothing in it is moved.

    A message is known by its name before `:2,`, which stays the same when it is read, flagged or
    moved from `new` to `cur`. `deadline` is one of `time.monotonic()`.

    Raises:
        FolderError: there is no Maildir.
        LandingError: the landing zone cannot be written.
    """
    present: dict[FileVersion, Path] = {}
    try:
        for name in ("new", "cur"):
            for entry in os.scandir(folder / name):
                if not entry.name.startswith("."):
                    present[FileVersion(entry.name.partition(":2,")[0])] = Path(entry.path)
    except OSError as error:
        raise FolderError(
            f"Cannot read the Maildir {folder}: {error.strerror} ({error.filename}). Check"
            " TICKETS_MAILDIR and its permissions."
        ) from None
    seen = SeenFiles(cursors_dir, folder)
    look = _Look(landing, seen, deadline, first_day, on_message)
    seen.forget(look.known.keys() - present.keys())
    waiting = sorted(version for version in present if not look.is_done(version))
    look.land_mails(
        [(version, present[version]) for version in waiting[:max_messages]],
        lambda path: [mail_message(path.read_bytes(), f"maildir:{folder.name}")],
    )
    look.report.remaining += len(waiting[max_messages:])
    return look.report


def poll_drop_folder(
    landing: LandingZone,
    folder: Path,
    cursors_dir: Path,
    *,
    categories: Iterable[str],
    priorities: Iterable[str],
    max_messages: int,
    column_mapping: Mapping[str, str] | None = None,
    deadline: float = math.inf,
    first_day: date | None = None,
    on_message: Callable[[IncomingMessage], None] | None = None,
    settled_seconds: float = SETTLED_SECONDS,
) -> FolderReport:
    """Land what was put into a folder or below it, and the labels in it; files stay as they are.

    A file is read when its name, size or time is new, and has been left alone for
    `settled_seconds`. One that was refused is read again when the labels or the columns change.
    Names that begin with a dot or end like an unfinished copy are passed over. After `deadline`,
    one of `time.monotonic()`, a file is gone on with by the next poll; one above POLLED_BYTES is
    then not begun at all. `max_messages` is about `.eml` files.

    Raises:
        FolderError: the folder cannot be read.
        LandingError: the landing zone cannot be written.
    """
    seen = SeenFiles(cursors_dir, folder)
    labels = LabelSet(categories, priorities)
    limit = POLLED_BYTES if deadline != math.inf else None
    reader = _reader(labels, column_mapping, limit)
    look = _Look(landing, seen, deadline, first_day, on_message, reader=reader)
    found, unreadable = _files(folder)
    present = {each.version.name for each in found} | {version.name for version, _ in unreadable}
    seen.forget(version for version in look.known if version.name not in present)
    for version, reason in unreadable:
        look.refuse(version, reason, again=True)
    mails: list[_Found] = []
    others: list[_Found] = []
    settled_at = time.time() - settled_seconds
    for each in found:
        if look.is_done(each.version):
            continue
        if each.changed_at > settled_at:
            look.report.remaining += 1
        elif limit is not None and each.version.size > limit:
            size = f"{each.path} exceeds {limit >> 20} MB"
            look.refuse(each.version, f"{size}: land it with `tickets fetch`.")
        else:
            (mails if each.path.suffix.lower() == ".eml" else others).append(each)
    look.land_mails(
        [(each.version, each.path) for each in mails[:max_messages]],
        lambda path: [
            replace(imported.message, source=f"eml:{folder.name}")
            for imported in read_mailbox(path)
        ],
    )
    look.report.remaining += len(mails[max_messages:])
    for each in others:
        if look.is_late:
            look.report.remaining += 1
            continue
        mapping = column_mapping if each.path.suffix.lower() in TABLE_SUFFIXES else None
        look.land_file(each, labels, mapping)
    return look.report


class _Look:
    """One look into a folder: lands what is found and remembers it, in this order."""

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
        """What was remembered before the look."""
        self._reader = reader
        self._landing = landing
        self._seen = seen
        self._deadline = deadline
        self._first_day = first_day
        self._on_message = on_message
        self.report = FolderReport()

    @property
    def is_late(self) -> bool:
        return time.monotonic() >= self._deadline

    def is_done(self, version: FileVersion) -> bool:
        """Whether reading the file, as it is now and with these settings, changes nothing."""
        progress = self.known.get(version)
        if progress is None or not progress.is_done:
            return False
        return not progress.refusal or progress.reader == self._reader

    def refuse(self, version: FileVersion, reason: str, *, again: bool = False) -> None:
        """Remember why a file cannot be used. It is read again once it or the settings change, or
        by the next look (`again`)."""
        if not again:
            reason += " It is tried again once it or the settings have changed."
        if version not in self.known or self.known[version].refusal != reason:
            self.report.problems.append(reason)
        self._seen.refuse(version, reason, None if again else self._reader)

    def land_mails(
        self,
        files: list[tuple[FileVersion, Path]],
        read: Callable[[Path], list[IncomingMessage]],
    ) -> None:
        """Land small files together."""
        on_the_way: deque[FileVersion | None] = deque()
        on_disk: list[FileVersion] = []
        unread = len(files)

        def messages() -> Iterator[IncomingMessage]:
            nonlocal unread
            for version, path in files:
                if self.is_late:
                    return
                unread -= 1
                try:
                    found = read(path)
                except FileNotFoundError:
                    continue  # a mail program has moved it meanwhile: the next look finds it
                except ExportError as error:
                    self.refuse(version, str(error))
                    continue
                except OSError as error:
                    self.refuse(version, _unreadable(path, error), again=True)
                    continue
                on_the_way.extend([*[None] * (len(found) - 1), version])
                yield from found

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
        file: _Found,
        known: LabelSet,
        column_mapping: Mapping[str, str] | None,
    ) -> None:
        """Land a mailbox or an export behind the messages that have landed, then its labels."""
        done = self.known[file.version].messages if file.version in self.known else 0
        is_done = False

        def messages() -> Iterator[IncomingMessage]:
            nonlocal done, is_done
            mailbox = read_mailbox(file.path, column_mapping=column_mapping)
            for imported in islice(mailbox, done, None):
                yield imported.message
                done += 1
                # A batch at least, however long the skipping took: each look gets further.
                if self.is_late and done % BATCH_MESSAGES == 0:
                    return
            is_done = True

        try:
            # As in an import, a file that is damaged or has an unknown label lands nothing.
            mailbox = read_mailbox(file.path, column_mapping=column_mapping)
            labels = [imported.label for imported in mailbox if imported.label]
            known.check(labels, str(file.path))
            self.report.add(self._landing.land(messages(), self._on_message, self._first_day))
        except (ExportError, UnknownLabelError) as error:
            self.refuse(file.version, str(error))
            return
        if is_done:
            self.report.labels += self._landing.land_labels(known.matched(labels))
        else:
            self.report.remaining += 1
        self._seen.remember([file.version], done, done=is_done)


def _reader(labels: LabelSet, column_mapping: Mapping[str, str] | None, limit: int | None) -> str:
    """What identifies the settings that decide whether a file can be used."""
    parts = [labels.categories, labels.priorities, sorted((column_mapping or {}).items()), limit]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _unreadable(path: Path, error: OSError) -> str:
    return f"Cannot read {path}: {error.strerror}."


def _files(folder: Path) -> tuple[list[_Found], list[tuple[FileVersion, str]]]:
    """The files below a folder, and the folders below it that cannot be read."""
    found: list[_Found] = []
    unreadable: list[tuple[FileVersion, str]] = []
    folders = [folder]
    while folders:
        current = folders.pop()
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            if current == folder:
                raise FolderError(
                    f"Cannot read the drop folder {folder}: {error.strerror}. Check"
                    " TICKETS_DROP_FOLDER and its permissions."
                ) from None
            name = f"{current.relative_to(folder)}/"
            unreadable.append((FileVersion(name), _unreadable(current, error)))
            continue
        # What lies in the `tmp` of a Maildir is still being delivered.
        is_maildir = {"cur", "new"} <= {entry.name for entry in entries}
        for entry in entries:
            name = entry.name.lower()
            if name.startswith(".") or name.endswith(_UNFINISHED_SUFFIXES):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not (is_maildir and entry.name == "tmp"):
                    folders.append(Path(entry.path))
            elif entry.is_file():
                status = entry.stat()
                path = Path(entry.path)
                version = FileVersion(
                    str(path.relative_to(folder)), status.st_size, status.st_mtime_ns
                )
                # Copies keep the time of the original; that of the last change they cannot.
                found.append(_Found(version, path, status.st_ctime))
    return found, unreadable
