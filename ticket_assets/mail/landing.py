"""The landing zone: the original bytes of every message, under the day it was received."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.headers import bare_id
from ticket_assets.mail.received import ReceivedAtSource, as_utc, received_at
from ticket_assets.storage.tables import TABLES
from ticket_assets.storage.whole_file import replace_file, replace_files

if TYPE_CHECKING:
    import pandas as pd

Extension = Literal["eml", "json"]

BATCH_MESSAGES = 500
BATCH_BYTES = 64 * 1024 * 1024
BATCH_LABELS = 10_000
LOOKED_FOR_ONE_BY_ONE = 100
FIRST_DAY_REACH = timedelta(days=731)
"""How far before its newest mail a first import may start: a handful of mails with wild dates
must not make thousands of empty partitions."""
STALE_SECONDS = 3600
"""A temporary file this old was left by a process that died."""

MANIFESTS = "_manifests"
PURGED_MANIFEST = "purged.jsonl"
"""In a day's manifests: the lines of its messages whose bytes retention has removed."""
PURGED_UNTIL = "purged_until"
"""File with the last day whose messages retention has removed."""
ERASED = "erased"
"""Folder of the ids of erased tickets; they hold nothing of a person."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
MESSAGE_FILE = re.compile(r"[0-9a-f]{64}\.(?:eml|json)")
_LABEL_FIELDS = ("category", "priority", "labelled_at", "labelled_by", "ticket_id", "message_id")


class LandingError(TicketAssetsError):
    """The landing zone cannot be written, or holds something it never wrote."""


@dataclass(frozen=True)
class IncomingMessage:
    """A message on its way to the landing zone."""

    content: bytes
    extension: Extension
    source: str
    received_at: datetime | None
    """Aware. None when the message does not say it: the landing time is then used."""
    received_at_source: ReceivedAtSource
    message_id: str | None


@dataclass(frozen=True)
class LandedMessage:
    """A message in the landing zone."""

    content_hash: str
    ticket_id: str
    extension: str
    path: Path
    source: str
    received_at: datetime
    received_at_source: ReceivedAtSource
    landed_at: datetime
    size_bytes: int

    def read(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class Label:
    """A person's label of a ticket, which is named by its ticket id or its message id."""

    category: str | None
    priority: str | None
    labelled_at: datetime
    labelled_by: str
    ticket_id: str | None
    message_id: str | None


@dataclass(frozen=True)
class LandingReport:
    """What one landing changed."""

    landed: int
    already_there: int
    days: tuple[date, ...]
    """Days that received a new message, sorted."""
    older: int
    """Landed messages from before the first day, which wait until it is moved back."""
    undated: int
    """Landed messages without a usable date, under the day they landed."""
    erased_before: int
    """Messages that a person had erased: they do not land again."""


@dataclass(frozen=True)
class ResolvedLabels:
    """The labels that hold now, one row per ticket, as the table ticket_labels declares."""

    labels: pd.DataFrame
    unresolved: int
    """Labels whose message id no landed message has."""
    copies: int
    """Labelled tickets beyond the first of their message id: the message came in several forms."""


def ticket_id_of(content_hash: str) -> str:
    """The ticket id of the message with this SHA-256 (hexadecimal)."""
    return content_hash[:20]


class LandingZone:
    """A folder of original messages, content-addressed under their received day (UTC).

    Any number of processes write to it, each file atomically and once, so that others see whole
    files only. A batch's manifest is on disk before its messages, so a
    landing that dies in between is completed by landing the same messages again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def land(
        self,
        messages: Iterable[IncomingMessage],
        on_message: Callable[[IncomingMessage], None] | None = None,
        first_day: date | None = None,
    ) -> LandingReport:
        """Land the messages that are not there yet, in batches of bounded size.

        `on_message` is called for each message once it is safely on disk, so that a source may
        then forget it. `first_day` is the first day in use if the user has set one.

        Raises:
            LandingError: the folder cannot be written; the batches before have landed.
        """
        landed: Counter[date] = Counter()
        already_there = undated = erased_before = 0
        swept: set[Path] = set()
        names = _LandedNames(self)
        for batch in _batches(messages):
            new, erased = self._new_messages(batch, names)
            folders = {message.path.parent for _, message in new}
            with self._explained_failures():
                for folder in folders - swept:
                    (folder / MANIFESTS).mkdir(parents=True, exist_ok=True)
                    _remove_stale(folder)
                self._write_batch(new)
            swept |= folders
            landed.update(message.received_at.date() for _, message in new)
            already_there += len(batch) - len(new) - erased
            erased_before += erased
            undated += sum(message.received_at_source == "landed" for _, message in new)
            if on_message:
                for message in batch:
                    on_message(message)
        settled = self._settle_first_day()
        first_day = self.first_unpurged_day(first_day or settled)
        return LandingReport(
            landed=landed.total(),
            already_there=already_there,
            days=tuple(sorted(landed)),
            older=sum(count for day, count in landed.items() if first_day and day < first_day),
            undated=undated,
            erased_before=erased_before,
        )

    def days(self) -> list[date]:
        """The days that hold a message, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(
            day
            for entry in os.scandir(self.root)
            if _DAY.fullmatch(entry.name)
            and (day := _iso_day(entry.name))
            and entry.is_dir()
            # A landing that died may have left a manifest alone.
            and any(MESSAGE_FILE.fullmatch(file.name) for file in os.scandir(entry))
        )

    def messages(self, day: date) -> Iterator[LandedMessage]:
        """The day's messages by received time, then hash. A file that no manifest names counts;
        one that is being erased does not."""
        folder = self.root / day.isoformat()
        # Files before manifests: a file that lands in between has no line yet.
        entries = self._message_files(folder)
        manifest = {line["sha256"]: line for line in self._manifest_lines(folder)}
        messages = [
            _landed_message(entry, day, manifest.get(entry.name.partition(".")[0]))
            for entry in entries
        ]
        yield from sorted(messages, key=lambda message: (message.received_at, message.content_hash))

    def count(self, day: date) -> int:
        """How many messages the day has; no manifest is read."""
        return len(self._message_files(self.root / day.isoformat()))

    def purged_until(self) -> date | None:
        """The last day whose messages retention has removed, if it has removed any.

        Raises:
            LandingError: the file `purged_until` was edited and is not a date.
        """
        return self._marked_day(PURGED_UNTIL, "last purged day")

    def is_purged(self, message: LandedMessage) -> bool:
        """Whether the message is listed to be removed, or has been."""
        return message.content_hash in self._purged_hashes({message.path.parent})

    def refuse_purged(self, day: date) -> None:
        """Pass when the day may still be processed: the rows of a purged day stay as they are.

        Raises:
            LandingError: the day's original mail has been removed.
        """
        purged = self.purged_until()
        if purged is not None and day <= purged:
            raise LandingError(
                f"The original mail of {day} has been purged, as of every day until {purged}"
                " (TICKETS_RAW_MAIL_DAYS). Choose days after it; what the tables hold of the"
                " earlier ones stays."
            )

    def first_unpurged_day(self, first_day: date | None) -> date | None:
        """`first_day`, or the day after the last purged one when that is later."""
        purged = self.purged_until()
        if purged is None:
            return first_day
        return max(purged + timedelta(days=1), first_day or date.min)

    def erased(self) -> set[str]:
        """Ids of the tickets that a person had erased."""
        return {
            line["ticket_id"]
            for path in (self.root / ERASED).glob("*.jsonl")
            for line in json_lines(path)
        }

    def first_day(self) -> date | None:
        """The first day to process: the earliest of the first import that is at most two years
        older than its newest mail. None before the first import has ended.

        Raises:
            LandingError: the file `first_day` was edited and is not a date.
        """
        return self._marked_day("first_day", "first day")

    def land_labels(self, labels: Iterable[Label]) -> int:
        """Land labels and return how many were in files that were not there yet.

        Raises:
            LandingError: the folder cannot be written.
        """
        folder = self.root / "labels"
        remaining = iter(labels)
        landed = 0
        while batch := list(islice(remaining, BATCH_LABELS)):
            content = b"".join(map(_label_line, batch))
            path = folder / f"{hashlib.sha256(content).hexdigest()}.jsonl"
            if not path.exists():
                with self._explained_failures():
                    folder.mkdir(parents=True, exist_ok=True)
                    replace_file(path, content)
                    sync_folder(folder)
                landed += len(batch)
        return landed

    def labels(self) -> Iterator[Label]:
        """Every label ever landed, in no particular order of time."""
        for path in sorted((self.root / "labels").glob("*.jsonl")):
            for line in json_lines(path):
                fields = {name: line[name] for name in _LABEL_FIELDS}
                yield Label(**{**fields, "labelled_at": _moment(line["labelled_at"])})

    def resolve_labels(self) -> ResolvedLabels:
        """The labels that hold now: the latest of each ticket, category and priority apart.

        A later label that has only a priority keeps the earlier category. `labelled_at` and
        `labelled_by` are those of the ticket's latest label.
        """
        ordered = sorted(self.labels(), key=lambda label: label.labelled_at)
        tickets = self._tickets_of(
            {label.message_id for label in ordered if label.message_id and not label.ticket_id}
        )
        erased = self.erased()
        unresolved = 0
        latest: dict[str, dict[str, Any]] = {}
        for label in ordered:
            named = (
                {label.ticket_id} if label.ticket_id else tickets.get(label.message_id or "", set())
            )
            unresolved += not named
            for ticket_id in named - erased:
                row = latest.setdefault(ticket_id, {"category": None, "priority": None})
                row["category"] = label.category or row["category"]
                row["priority"] = label.priority or row["priority"]
                row["labelled_at"] = label.labelled_at.replace(tzinfo=None)
                row["labelled_by"] = label.labelled_by
        rows = [{"ticket_id": ticket_id, **latest[ticket_id]} for ticket_id in sorted(latest)]
        copies = sum(max(len(named - erased) - 1, 0) for named in tickets.values())
        return ResolvedLabels(TABLES["ticket_labels"].frame(rows), unresolved, copies)

    @contextmanager
    def _explained_failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LandingError(
                f"Cannot write to the landing zone {self.root}: {error.strerror}. Check its space"
                " and permissions, then land the same again."
            ) from error

    def _new_messages(
        self, batch: list[IncomingMessage], names: _LandedNames
    ) -> tuple[list[tuple[IncomingMessage, LandedMessage]], int]:
        """The messages that have to be written, and how many others were erased before."""
        landed_at = datetime.now(UTC)
        started_at = self._started_at()
        any_day = False
        hashes: list[str] = []
        new: dict[str, tuple[IncomingMessage, LandedMessage]] = {}
        for message in batch:
            content_hash = hashlib.sha256(message.content).hexdigest()
            hashes.append(content_hash)
            name = f"{content_hash}.{message.extension}"
            moment = as_utc(message.received_at) if message.received_at else landed_at
            path = self.root / moment.date().isoformat() / name
            if content_hash in new or path.exists():
                continue
            if _may_have_another_day(message, started_at):
                any_day = True
                if names.hold(name):
                    continue
            new[content_hash] = (
                message,
                LandedMessage(
                    content_hash=content_hash,
                    ticket_id=ticket_id_of(content_hash),
                    extension=message.extension,
                    path=path,
                    source=message.source,
                    received_at=moment,
                    received_at_source=(
                        message.received_at_source if message.received_at else "landed"
                    ),
                    landed_at=landed_at,
                    size_bytes=len(message.content),
                ),
            )
        # A message whose day is not sure may have been purged on any.
        purged = self._purged_hashes(
            None if any_day else {message.path.parent for _, message in new.values()}
        )
        # Read after the look for the files: an erasure buries a message before it removes its file.
        erased = self.erased() if new else set()
        fresh = [
            pair
            for content_hash, pair in new.items()
            if content_hash not in purged and ticket_id_of(content_hash) not in erased
        ]
        names.add(message.path.name for _, message in fresh)
        return fresh, sum(ticket_id_of(content_hash) in erased for content_hash in hashes)

    def _purged_hashes(self, folders: set[Path] | None) -> set[str]:
        """Content hashes of the messages that retention removed from these days, or from any."""
        manifests = (
            self.root.glob(f"*/{MANIFESTS}/{PURGED_MANIFEST}")
            if folders is None
            else (folder / MANIFESTS / PURGED_MANIFEST for folder in folders)
        )
        return {
            line["sha256"]
            for manifest in manifests
            if manifest.exists()
            for line in json_lines(manifest)
        }

    def _write_batch(self, new: list[tuple[IncomingMessage, LandedMessage]]) -> None:
        if not new:
            return
        manifests: dict[Path, list[str]] = {}
        for message, landed in new:
            line = {
                "sha256": landed.content_hash,
                "source": landed.source,
                "received_at": landed.received_at.isoformat(),
                "received_at_source": landed.received_at_source,
                "landed_at": landed.landed_at.isoformat(),
                "message_id": bare_id(message.message_id),
            }
            manifests.setdefault(landed.path.parent / MANIFESTS, []).append(json.dumps(line))
        batch = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}"
        for folder, lines in manifests.items():
            replace_file(folder / f"{batch}.jsonl", "\n".join([*lines, ""]))
            sync_folder(folder)
        replace_files((landed.path, message.content) for message, landed in new)
        for folder in manifests:
            sync_folder(folder.parent)
        sync_folder(self.root)  # a day's first message made its folder

    def _message_files(self, folder: Path) -> list[os.DirEntry[str]]:
        if not folder.is_dir():
            return []
        erased = self.erased()
        return [
            entry
            for entry in os.scandir(folder)
            if MESSAGE_FILE.fullmatch(entry.name) and ticket_id_of(entry.name) not in erased
        ]

    def _manifest_lines(self, folder: Path) -> Iterator[dict[str, Any]]:
        # In order of landing: where a landing died and was repeated, the later line is the true
        # one, since the file was written after it.
        for path in sorted((folder / MANIFESTS).glob("*.jsonl")):
            yield from json_lines(path)

    def _tickets_of(self, message_ids: set[str]) -> dict[str, set[str]]:
        tickets: dict[str, set[str]] = {}
        # Also of days without a message: retention leaves the lines of messages that it removes.
        for folder in sorted(self.root.glob("*-*-*")) if message_ids else []:
            for line in self._manifest_lines(folder):
                if line["message_id"] in message_ids:
                    ticket_id = ticket_id_of(line["sha256"])
                    tickets.setdefault(line["message_id"], set()).add(ticket_id)
        return tickets

    def _started_at(self) -> datetime | None:
        """When the first import ended, or None before."""
        try:
            return datetime.fromtimestamp((self.root / "first_day").stat().st_mtime, UTC)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _marked_day(self, name: str, meaning: str) -> date | None:
        path = self.root / name
        try:
            text = path.read_text("utf-8").strip()
        except FileNotFoundError:
            return None
        day = _iso_day(text)
        if day is None:
            raise LandingError(f"{path} holds {text!r}: write the {meaning} as YYYY-MM-DD.")
        return day

    def _settle_first_day(self) -> date | None:
        day = self.first_day()
        if day is None and (days := self.days()):
            day = min(day for day in days if day >= days[-1] - FIRST_DAY_REACH)
            replace_file(self.root / "first_day", f"{day}\n")
            sync_folder(self.root)
        return day


class _LandedNames:
    """The file names under any day of a landing zone, for one landing.

    The first few are looked for day by day. A landing that looks for more, as a first import does
    for each message, lists the folders once: the import of 20,000 then took half the time.
    """

    def __init__(self, zone: LandingZone) -> None:
        self._zone = zone
        self._looked_for = 0
        self._starts: set[int] | None = None
        self._days: list[date] | None = None

    def hold(self, name: str) -> bool:
        """Whether a message of this name has landed under any day."""
        if self._starts is None and self._looked_for < LOOKED_FOR_ONE_BY_ONE:
            self._looked_for += 1
            return self._is_there(name)
        if self._starts is None:
            self._starts = {
                _start(entry.name)
                for day in self._zone.days()
                for entry in os.scandir(self._zone.root / day.isoformat())
                if MESSAGE_FILE.fullmatch(entry.name)
            }
        return _start(name) in self._starts and self._is_there(name)

    def add(self, names: Iterable[str]) -> None:
        """Names that this landing writes, perhaps under new days."""
        self._days = None
        if self._starts is not None:
            self._starts.update(map(_start, names))

    def _is_there(self, name: str) -> bool:
        if self._days is None:
            self._days = self._zone.days()
        root = self._zone.root
        return any((root / day.isoformat() / name).exists() for day in self._days)


def _start(name: str) -> int:
    """64 bits of a content hash: a seventh of the memory of its name."""
    return int(name[:16], 16)


def _batches(messages: Iterable[IncomingMessage]) -> Iterator[list[IncomingMessage]]:
    batch: list[IncomingMessage] = []
    size = 0
    for message in messages:
        batch.append(message)
        size += len(message.content)
        if len(batch) >= BATCH_MESSAGES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _may_have_another_day(message: IncomingMessage, started_at: datetime | None) -> bool:
    """Whether the message can have landed under another day than the one it has now.

    That is so when it does not hold its date, and when its date was still to come, and was perhaps
    not believed, while the zone was in use. (A date is believed up to a day ahead: that is room for
    the first import to take its time.)
    """
    if message.received_at is None or message.received_at_source not in ("date", "export"):
        return True
    return started_at is None or as_utc(message.received_at) > started_at


def _landed_message(
    entry: os.DirEntry[str], day: date, line: dict[str, Any] | None
) -> LandedMessage:
    path = Path(entry.path)
    status = entry.stat()
    if line is None:
        moment, moment_source = received_at(path.read_bytes())
        line = {
            "source": "unknown",
            "received_at": moment.isoformat() if moment else "",
            "received_at_source": moment_source,
            "landed_at": datetime.fromtimestamp(status.st_mtime, UTC).isoformat(),
        }
    received: datetime | None = _moment(line["received_at"]) if line["received_at"] else None
    moment_source = line["received_at_source"]
    if received is None or received.date() != day:
        # The folder decides, since it is what a partition reads.
        received, moment_source = datetime.combine(day, time_of_day(), UTC), "landed"
    return LandedMessage(
        content_hash=path.stem,
        ticket_id=ticket_id_of(path.stem),
        extension=path.suffix[1:],
        path=path,
        source=line["source"],
        received_at=received,
        received_at_source=moment_source,
        landed_at=_moment(line["landed_at"]),
        size_bytes=status.st_size,
    )


def _label_line(label: Label) -> bytes:
    fields = {
        **{name: getattr(label, name) for name in _LABEL_FIELDS},
        "labelled_at": as_utc(label.labelled_at).isoformat(),
        "message_id": bare_id(label.message_id),
    }
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError:
                raise LandingError(
                    f"{path}, line {number} is not JSON: the file was changed by hand;"
                    " restore it from a backup."
                ) from None


def _iso_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(folder: Path) -> None:
    for temporary in [*folder.glob(".*.tmp"), *folder.glob(f"{MANIFESTS}/.*.tmp")]:
        with suppress(FileNotFoundError):  # a writer beside this one finished or removed it
            if temporary.stat().st_mtime < time.time() - STALE_SECONDS:
                temporary.unlink()
