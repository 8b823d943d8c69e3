"""The landing zone: the original bytes of every message, under the day it was received."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.category_changes import CategoryChanges, changes_of_file, former_names
from ticket_assets.mail.changed_days import MESSAGE_FILE, ChangedDays, day_folders, iso_day
from ticket_assets.mail.headers import bare_id
from ticket_assets.mail.received import ReceivedAtSource, as_utc, received_at
from ticket_assets.storage.blobs import Blob, BlobNotFoundError, Blobs
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.leases import LeaseHeldError, Leases
from ticket_assets.storage.tables import TABLES

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

MANIFESTS = "_manifests"
PURGED_MANIFEST = "purged.jsonl"
"""In a day's manifests: the lines of its messages whose bytes retention has removed."""
PURGED_UNTIL = "purged_until"
"""File with the last day whose messages retention has removed."""
FIRST_DAY = "first_day"
ERASED = "erased"
"""Folder of the ids of erased tickets; they hold nothing of a person."""
LABELS = "labels"
DAMAGED = "damaged"
"""Folder of originals that were set aside since their bytes had changed, under their days. One goes
when the same mail lands again."""
ARRIVALS = "landing/.arrivals"
"""Lease that those who land mail share, and an erasure holds alone."""

_LINE_FIELDS = (
    "sha256",
    "source",
    "received_at",
    "received_at_source",
    "landed_at",
    "message_id",
)
"""Of a manifest's line."""
_MOMENTS = {"received_at", "landed_at", "labelled_at"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
LABEL_FIELDS = ("category", "priority", "labelled_at", "labelled_by", "ticket_id", "message_id")


class LandingError(TicketAssetsError):
    """The landing zone holds something it never wrote, or cannot do what is asked now."""


class DamagedOriginalError(LandingError):
    """Originals hold other bytes than those that landed."""

    def __init__(self, location: str, names: Iterable[str]) -> None:
        first, *others = sorted(names)
        more = f", as do {len(others):,} more originals" if others else ""
        super().__init__(
            f"{location}/{first} holds other bytes than those that landed{more}. Import that mail"
            " again, which heals it. `tickets doctor` names every damaged original, and with"
            " --repair sets them aside: their days are then processed without them."
        )


class ErasureUnderWayError(LandingError):
    """No mail may land while an erasure looks for a person's."""


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
    name: str
    """Where its bytes are, for `LandingZone.read`."""
    source: str
    received_at: datetime
    received_at_source: ReceivedAtSource
    landed_at: datetime
    size_bytes: int


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
    healed: int
    """Messages whose original was damaged or had been set aside, and is whole again."""
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


def is_damaged(name: str, content: bytes) -> bool:
    """Whether the original of this name holds other bytes than those that landed."""
    return hashlib.sha256(content).hexdigest() != _content_hash(name)


def ticket_id_of(content_hash: str) -> str:
    """The ticket id of the message with this SHA-256 (hexadecimal)."""
    return content_hash[:20]


class LandingZone:
    """Original messages, content-addressed under their received day (UTC).

    Any number of processes write to it, each blob whole and once. A batch's manifest is safe before
    its messages, so a landing that dies in between is completed by landing the same messages again.
    """

    def __init__(self, files: Blobs | Path, leases: Leases | None = None) -> None:
        """The zone in these blobs, or in this folder; with `leases`, erasures keep mail out."""
        self._leases = leases
        self.files = FolderBlobs(files) if isinstance(files, Path) else files
        self.changed_days = ChangedDays(self.files) if self.files.changed_at("") is None else None
        """What tells which days changed; None where the store does."""
        self.category_changes = CategoryChanges(self.files)
        self._erased: dict[str, set[str]] = {}

    def land(
        self,
        messages: Iterable[IncomingMessage],
        on_message: Callable[[IncomingMessage], None] | None = None,
        first_day: date | None = None,
    ) -> LandingReport:
        """Land the messages that are not there yet, in batches of bounded size.

        `on_message` is called for each message once it is safely stored, so that a source may
        then forget it. `first_day` is the first day in use if the user has set one.

        Raises:
            BlobStoreError: the zone cannot be written; the batches before have landed.
            ErasureUnderWayError: an erasure keeps mail out; nothing has landed.
        """
        with self._arriving():
            return self._land(messages, on_message, first_day)

    def _land(
        self,
        messages: Iterable[IncomingMessage],
        on_message: Callable[[IncomingMessage], None] | None,
        first_day: date | None,
    ) -> LandingReport:
        landed: Counter[date] = Counter()
        already_there = healed = undated = erased_before = 0
        names = _LandedNames(self)
        for batch in _batches(messages):
            new, damaged, erased = self._new_messages(batch, names)
            written = self._write_batch(new, damaged)
            landed.update(message.received_at.date() for message in written)
            already_there += len(batch) - len(written) - len(damaged) - erased
            healed += len(damaged)
            erased_before += erased
            undated += sum(message.received_at_source == "landed" for message in written)
            if on_message:
                for message in batch:
                    on_message(message)
        settled = self.settle_first_day()
        first_day = self.first_unpurged_day(first_day or settled)
        return LandingReport(
            landed=landed.total(),
            already_there=already_there,
            healed=healed,
            days=tuple(sorted(landed)),
            older=sum(count for day, count in landed.items() if first_day and day < first_day),
            undated=undated,
            erased_before=erased_before,
        )

    @contextmanager
    def _arriving(self) -> Iterator[None]:
        with ExitStack() as held:
            if self._leases:
                try:
                    held.enter_context(self._leases.hold(ARRIVALS, shared=True))
                except LeaseHeldError:
                    raise ErasureUnderWayError(
                        "An erasure is under way, and no mail may land meanwhile. Do the same again"
                        " when it has ended."
                    ) from None
            yield

    def changing(self, days: Iterable[date]) -> AbstractContextManager[None]:
        """Messages of these days come or go meanwhile, so that readers learn of it."""
        return self.changed_days.noting(days) if self.changed_days else nullcontext()

    def days(self) -> list[date]:
        """The days that hold a message, sorted."""
        if self.changed_days:
            return list(self.changed_days.fingerprints())
        return [
            date.fromisoformat(day)
            for day in day_folders(self.files)
            # A landing that died may have left a manifest alone.
            if any(map(MESSAGE_FILE.fullmatch, self.files.names(day)))
        ]

    def messages(self, day: date) -> Iterator[LandedMessage]:
        """The day's messages by received time, then hash. A file that no manifest names counts;
        one that is being erased does not."""
        # Files before manifests: a file that lands in between has no line yet.
        blobs = [
            blob
            for blob in self.files.list(day.isoformat())
            if MESSAGE_FILE.fullmatch(blob.name.rpartition("/")[2])
        ]
        erased = self.erased()
        manifest = {line["sha256"]: line for line in self.manifest_lines([day.isoformat()])}
        messages = [
            self._landed_message(blob, day, manifest.get(_content_hash(blob.name)))
            for blob in blobs
            if ticket_id_of(_content_hash(blob.name)) not in erased
        ]
        yield from sorted(messages, key=lambda message: (message.received_at, message.content_hash))

    def read(self, message: LandedMessage) -> bytes:
        """The original bytes.

        Raises:
            DamagedOriginalError: they are not those that landed.
        """
        content = self.files.read(message.name)
        if is_damaged(message.name, content):
            raise DamagedOriginalError(self.files.location, [message.name])
        return content

    def counts(self, days: Iterable[date]) -> dict[date, int]:
        """How many messages each of the days has; no manifest is read."""
        erased = self.erased()
        return {
            date.fromisoformat(day): sum(
                ticket_id_of(name) not in erased for name in filter(MESSAGE_FILE.fullmatch, names)
            )
            for day, names in self.files.names_in(map(str, days))
        }

    def purged_until(self) -> date | None:
        """The last day whose messages retention has removed, if it has removed any.

        Raises:
            LandingError: the file `purged_until` was edited and is not a date.
        """
        return self._marked_day(PURGED_UNTIL, "last purged day")

    def is_purged(self, message: LandedMessage) -> bool:
        """Whether the message is listed to be removed, or has been."""
        return message.content_hash in self.purged_hashes([_folder(message.name)])

    def purged_hashes(self, folders: Iterable[str]) -> set[str]:
        """Content hashes of the messages that retention removed from these days."""
        manifests = (f"{folder}/{MANIFESTS}/{PURGED_MANIFEST}" for folder in folders)
        return {line["sha256"] for _, lines in self.lines_of(manifests, "sha256") for line in lines}

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
        # What was written there is never changed, so each is read once.
        names = {f"{ERASED}/{name}" for name in self.files.names(ERASED)}
        for name, lines in self.lines_of(names - self._erased.keys(), "ticket_id"):
            self._erased[name] = {line["ticket_id"] for line in lines}
        return set().union(*(self._erased[name] for name in names & self._erased.keys()))

    def first_day(self) -> date | None:
        """The first day to process: the earliest of the first import that is at most two years
        older than its newest mail. None before the first import has ended.

        Raises:
            LandingError: the file `first_day` was edited and is not a date.
        """
        return self._marked_day(FIRST_DAY, "first day")

    def land_labels(self, labels: Iterable[Label]) -> int:
        """Land labels and return how many were in files that no landing had written before.

        Raises:
            BlobStoreError: the zone cannot be written.
        """
        remaining = iter(labels)
        landed = 0
        while batch := list(islice(remaining, BATCH_LABELS)):
            content = b"".join(map(_label_line, batch))
            name = f"{LABELS}/{hashlib.sha256(content).hexdigest()}.jsonl"
            if self.files.create(name, content):
                landed += len(batch)
        return landed

    def label_files(self) -> list[str]:
        """The names of the files of labels, sorted; the content of one changes by erasures only."""
        return sorted(name for name in self.files.names(LABELS) if name.endswith(".jsonl"))

    def labels(self) -> Iterator[Label]:
        """Every label ever landed, in no particular order of time, with the name that its category
        has now."""
        changes = self.category_changes.made()
        names = (f"{LABELS}/{name}" for name in self.label_files())
        for name, lines in self.lines_of(names, *LABEL_FIELDS):
            later = changes_of_file(changes, _file(name))
            for line in lines:
                fields = {name: line[name] for name in LABEL_FIELDS}
                for change in later:
                    fields["category"] = change(fields["category"])
                yield Label(**{**fields, "labelled_at": _moment(line["labelled_at"])})

    def former_categories(self) -> dict[str, str]:
        """The present category by each name that one had before it was renamed or merged."""
        return former_names(self.category_changes.made())

    def resolve_labels(self, categories: Collection[str] = ()) -> ResolvedLabels:
        """The labels that hold now: the latest of each ticket, category and priority apart.

        A later label that has only a priority keeps the earlier category. `labelled_at` and
        `labelled_by` are those of the ticket's latest label.

        Args:
            categories: those of the desk. A label that landed by its category's former name while
                that was changed gets the present one.
        """
        former = self.former_categories() if categories else {}
        former = {name: now for name, now in former.items() if name not in categories}
        ordered = sorted(self.labels(), key=lambda label: label.labelled_at)
        tickets = self.tickets_named(
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
                category = label.category and former.get(label.category, label.category)
                row["category"] = category or row["category"]
                row["priority"] = label.priority or row["priority"]
                row["labelled_at"] = label.labelled_at.replace(tzinfo=None)
                row["labelled_by"] = label.labelled_by
        rows = [{"ticket_id": ticket_id, **latest[ticket_id]} for ticket_id in sorted(latest)]
        copies = sum(max(len(named - erased) - 1, 0) for named in tickets.values())
        return ResolvedLabels(TABLES["ticket_labels"].frame(rows), unresolved, copies)

    def tickets_named(self, names: Set[str]) -> dict[str, set[str]]:
        """The ids of the tickets that landed under each of these message ids and ticket ids; of a
        message that came in several forms they are several. Names of none are left out."""
        tickets: dict[str, set[str]] = {}
        # Also of days without a message: retention leaves the lines of messages that it removes.
        for line in self.manifest_lines(day_folders(self.files)) if names else []:
            ticket_id = ticket_id_of(line["sha256"])
            for name in {line["message_id"], ticket_id} & names:
                tickets.setdefault(name, set()).add(ticket_id)
        return tickets

    def manifests(self, folders: Iterable[str]) -> list[str]:
        """The names of the manifests of days, in order of landing: where a landing died and was
        repeated, the later line is the true one, since the file was written after it."""
        return [
            f"{folder}/{name}"
            for folder, names in self.files.names_in(f"{day}/{MANIFESTS}" for day in folders)
            for name in sorted(names)
            if name.endswith(".jsonl")
        ]

    def manifest_lines(self, folders: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The lines of the manifests of days, but for those that were cut or altered: their
        messages are as if no manifest named them."""
        for _, manifest in self.files.read_many(self.manifests(folders)):
            yield from filter(None, map(manifest_entries, manifest.splitlines()))

    def lines_of(
        self, names: Iterable[str], *fields: str
    ) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
        """Each name with the lines of its JSON Lines, which have these fields; absent ones are left
        out.

        Raises:
            LandingError: a line was cut or altered.
        """
        for name, content in self.files.read_many(names):
            yield name, self._lines(name, content, fields)

    def _lines(
        self, name: str, content: bytes, fields: tuple[str, ...]
    ) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(content.splitlines(), 1):
            entries = line_entries(line, fields)
            if entries is None:
                raise LandingError(
                    f"{self.files.location}/{name}, line {number} was cut or altered. `tickets"
                    " doctor` says what is lost with it; --repair keeps the other lines."
                )
            yield entries

    def _new_messages(
        self, batch: list[IncomingMessage], landed_names: _LandedNames
    ) -> tuple[list[_Landing], list[_Landing], int]:
        """The messages that have to be written, those that take the place of damaged originals, and
        how many others were erased before."""
        landed_at = datetime.now(UTC)
        started_at = self._started_at()
        hashes = [hashlib.sha256(message.content).hexdigest() for message in batch]
        names = [
            f"{_moment_of(message, landed_at).date()}/{content_hash}.{message.extension}"
            for message, content_hash in zip(batch, hashes, strict=True)
        ]
        intact, places = self._compared(dict(zip(names, batch, strict=True)))
        new: dict[str, tuple[IncomingMessage, LandedMessage]] = {}
        for message, content_hash, name in zip(batch, hashes, names, strict=True):
            if name not in intact and content_hash not in new:
                new[content_hash] = message, _to_land(message, name, landed_at)
        unsure = {
            _file(landed.name): message
            for message, landed in new.values()
            if landed.name not in places.values() and _may_have_another_day(message, started_at)
        }
        elsewhere, places_elsewhere = self._compared(
            {name: unsure[_file(name)] for name in landed_names.hold(set(unsure))}
        )
        places |= places_elsewhere
        landed_elsewhere = set(map(_file, elsewhere))
        # A message whose day is not sure may have been purged on any.
        purged = self.purged_hashes(
            day_folders(self.files)
            if unsure
            else {_folder(landed.name) for _, landed in new.values()}
        )
        # Read after the look for the files: an erasure buries a message before it removes its file.
        erased = self.erased() if new else set()
        fresh = [
            (message, landed)
            for message, landed in new.values()
            if _file(landed.name) not in landed_elsewhere
            and landed.content_hash not in purged
            and landed.ticket_id not in erased
        ]
        places |= landed_names.set_aside
        healing = [
            (message, replace(landed, name=places[_file(landed.name)]))
            for message, landed in fresh
            if _file(landed.name) in places
        ]
        fresh = [(message, landed) for message, landed in fresh if _file(landed.name) not in places]
        landed_names.add(_file(landed.name) for _, landed in fresh)
        return fresh, healing, sum(ticket_id_of(content_hash) in erased for content_hash in hashes)

    def _compared(self, messages: Mapping[str, IncomingMessage]) -> tuple[set[str], dict[str, str]]:
        """Those of the names under which the messages are, whole; the others that are there, which
        are damaged, by file."""
        present = self.files.present(messages)
        intact = {
            name
            for name, content in self.files.read_many(sorted(present))
            if content == messages[name].content
        }
        return intact, {_file(name): name for name in present - intact}

    def _write_batch(self, new: list[_Landing], healing: list[_Landing]) -> list[LandedMessage]:
        """Those of the new messages that no other landing has written meanwhile."""
        if not new and not healing:
            return []
        lines: dict[str, list[tuple[str, str]]] = {}
        for message, landed in new:
            text = manifest_line(entries_of(landed, message.message_id))
            lines.setdefault(_folder(landed.name), []).append((landed.ticket_id, text))
        batch = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}.jsonl"

        def manifests(gone: set[str]) -> Iterator[tuple[str, bytes]]:
            for day, of_day in lines.items():
                kept = "".join(text for ticket_id, text in of_day if ticket_id not in gone)
                yield f"{day}/{MANIFESTS}/{batch}", kept.encode()

        # What takes the place of a damaged original has its line already.
        written = [*new, *healing]
        with self.changing({date.fromisoformat(_folder(landed.name)) for _, landed in written}):
            self.files.write(manifests(set()))
            created = self.files.create_many((to.name, message.content) for message, to in new)
            self.files.write((to.name, message.content) for message, to in healing)
            # An erasure that began meanwhile may have looked for them before they were there.
            if gone := {landed.ticket_id for _, landed in written} & self.erased():
                self.files.delete(landed.name for _, landed in written if landed.ticket_id in gone)
                self.files.write(manifests(gone))
            self.files.delete(f"{DAMAGED}/{landed.name}" for _, landed in healing)
        return [landed for _, landed in new if landed.name in created]

    def set_aside(self, names: Iterable[str]) -> None:
        """Take damaged originals out of their days; importing their mail again brings them back."""
        names = sorted(names)
        with self.changing({date.fromisoformat(_folder(name)) for name in names}):
            self.files.write(
                (f"{DAMAGED}/{name}", content) for name, content in self.files.read_many(names)
            )
            self.files.delete(names)

    def _landed_message(self, blob: Blob, day: date, line: dict[str, Any] | None) -> LandedMessage:
        if line is None:
            moment, moment_source = received_at(self.files.read(blob.name))
            line = {
                "source": "unknown",
                "received_at": moment.isoformat() if moment else "",
                "received_at_source": moment_source,
                "landed_at": blob.modified_at.isoformat(),
            }
        received: datetime | None = _moment(line["received_at"]) if line["received_at"] else None
        moment_source = line["received_at_source"]
        if received is None or received.date() != day:
            # The folder decides, since it is what a partition reads.
            received, moment_source = datetime.combine(day, time_of_day(), UTC), "landed"
        content_hash = _content_hash(blob.name)
        return LandedMessage(
            content_hash=content_hash,
            ticket_id=ticket_id_of(content_hash),
            extension=blob.name.rpartition(".")[2],
            name=blob.name,
            source=line["source"],
            received_at=received,
            received_at_source=moment_source,
            landed_at=_moment(line["landed_at"]),
            size_bytes=blob.size,
        )

    def _started_at(self) -> datetime | None:
        """When the first import ended, or None before."""
        first_day = self.files.entry(FIRST_DAY)
        return first_day.modified_at if first_day else None

    def _marked_day(self, name: str, meaning: str) -> date | None:
        try:
            text = self.files.read(name).decode(errors="replace").strip()
        except BlobNotFoundError:
            return None
        day = iso_day(text)
        if day is None:
            raise LandingError(
                f"{self.files.location}/{name} holds {text!r}: write the {meaning} as YYYY-MM-DD."
            )
        return day

    def settle_first_day(self) -> date | None:
        """The first day, which is decided on now if it was not."""
        day = self.first_day()
        if day is None and (days := self.days()):
            day = min(day for day in days if day >= days[-1] - FIRST_DAY_REACH)
            self.files.replace(FIRST_DAY, f"{day}\n".encode())
        return day


_Landing = tuple[IncomingMessage, LandedMessage]
"""A message and what it becomes in the landing zone."""


class _LandedNames:
    """The file names under any day of a landing zone, for one landing.

    The first few are looked for day by day. A landing that looks for more, as a first import does
    for each message, lists the folders once: the import of 20,000 then took half the time.
    """

    def __init__(self, zone: LandingZone) -> None:
        self._zone = zone
        self._looked_for = 0
        self._starts: set[int] | None = None
        self._days: list[str] | None = None
        self.set_aside = {
            _file(blob.name): blob.name.removeprefix(f"{DAMAGED}/")
            for blob in zone.files.list(DAMAGED)
        }
        """Where damaged originals were, by file."""

    def hold(self, names: set[str]) -> set[str]:
        """Where messages with one of these file names have landed, under any day."""
        if not names:
            return set()
        if self._days is None:
            self._days = [day.isoformat() for day in self._zone.days()]
        self._looked_for += len(names)
        if self._starts is None and self._looked_for > LOOKED_FOR_ONE_BY_ONE:
            self._starts = {
                _start(name)
                for _, landed in self._zone.files.names_in(self._days)
                for name in landed
                if MESSAGE_FILE.fullmatch(name)
            }
        if self._starts is not None:
            names = {name for name in names if _start(name) in self._starts}
        possible = (f"{day}/{name}" for day in self._days for name in names)
        return self._zone.files.present(possible)

    def add(self, names: Iterable[str]) -> None:
        """Names that this landing writes, perhaps under new days."""
        self._days = None
        if self._starts is not None:
            self._starts.update(map(_start, names))


def entries_of(message: LandedMessage, message_id: str | None) -> dict[str, Any]:
    """What a manifest's line says of a message."""
    return {
        "sha256": message.content_hash,
        "source": message.source,
        "received_at": message.received_at.isoformat(),
        "received_at_source": message.received_at_source,
        "landed_at": message.landed_at.isoformat(),
        "message_id": bare_id(message_id),
    }


def manifest_line(entries: Mapping[str, Any]) -> str:
    """A line of a manifest, with a checksum of its entries."""
    return json.dumps({**entries, "crc32": _checksum(entries)}) + "\n"


def manifest_entries(line: bytes) -> dict[str, Any] | None:
    """The entries of a manifest's line; None where it was cut or altered."""
    entries = line_entries(line, _LINE_FIELDS)
    # Earlier versions wrote no checksum.
    if entries and entries.pop("crc32", None) in {None, _checksum(entries)}:
        return entries
    return None


def line_entries(line: bytes, fields: Iterable[str]) -> dict[str, Any] | None:
    """The entries of a line of JSON; None where it was cut or altered so that it has no longer
    these fields, or no hash or moment where one belongs."""
    try:
        entries = dict(json.loads(line))
        for field in fields:
            value = entries[field]
            if field == "sha256" and not _SHA256.fullmatch(value):
                return None
            if field in _MOMENTS and value:
                _moment(value)
    except (ValueError, TypeError, KeyError):
        return None
    return entries


def _checksum(entries: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(entries).encode())


def _moment_of(message: IncomingMessage, landed_at: datetime) -> datetime:
    return as_utc(message.received_at) if message.received_at else landed_at


def _to_land(message: IncomingMessage, name: str, landed_at: datetime) -> LandedMessage:
    content_hash = _content_hash(name)
    return LandedMessage(
        content_hash=content_hash,
        ticket_id=ticket_id_of(content_hash),
        extension=message.extension,
        name=name,
        source=_valid(message.source),
        received_at=_moment_of(message, landed_at),
        received_at_source=message.received_at_source if message.received_at else "landed",
        landed_at=landed_at,
        size_bytes=len(message.content),
    )


def _valid(text: str) -> str:
    """Text with the name of a file in it, which may be in any encoding, as Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _file(name: str) -> str:
    return name.rpartition("/")[2]


def _content_hash(name: str) -> str:
    return _file(name).partition(".")[0]


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


def _label_line(label: Label) -> bytes:
    fields = {
        **{name: getattr(label, name) for name in LABEL_FIELDS},
        "labelled_at": as_utc(label.labelled_at).isoformat(),
        "labelled_by": _valid(label.labelled_by),
        "message_id": bare_id(label.message_id),
    }
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
