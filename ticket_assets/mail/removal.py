"""Removal from the landing zone: of erased tickets, and of mail that may be kept no longer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain
from time import monotonic, sleep
from uuid import uuid4

from ticket_assets.mail.addresses import addresses_in, canonical_address
from ticket_assets.mail.changed_days import MESSAGE_FILE, day_folders
from ticket_assets.mail.headers import header_fields, split_message
from ticket_assets.mail.landing import (
    ARRIVALS,
    DAMAGED,
    ERASED,
    LABELS,
    MANIFESTS,
    PURGED_MANIFEST,
    PURGED_UNTIL,
    LandedMessage,
    LandingError,
    LandingZone,
    entries_of,
    line_entries,
    manifest_entries,
    ticket_id_of,
)
from ticket_assets.storage.blobs import BlobNotFoundError
from ticket_assets.storage.leases import LeaseHeldError, Leases

POLL_SECONDS = 0.2
HEAD_BYTES = 16 * 1024
"""Most headers end within this; a mail with a longer one is read whole."""
_HEAD_END = re.compile(rb"\S[ \t\r]*\n\r?\n")
_FROM = re.compile(rb"(?:^|\xef\xbb\xbf)from[ \t]*:.*(?:\n[ \t].*)*", re.IGNORECASE | re.MULTILINE)
_LINE_TICKET = re.compile(rb'"sha256": "([0-9a-f]{20})')


@dataclass(frozen=True)
class RemovedMail:
    """What an erasure took out of the landing zone."""

    messages: int
    manifest_lines: int


@contextmanager
def removing(landing: LandingZone, leases: Leases) -> Iterator[None]:
    """The lock of the removing process: two that rewrite one manifest would bring lines back.

    Raises:
        LandingError: another process is removing.
    """
    try:
        with leases.hold("landing/.removing"):
            yield
    except LeaseHeldError:
        raise LandingError(
            f"Another erasure, purge or change of {landing.files.location} is under way. Try again"
            " when it has ended."
        ) from None


@contextmanager
def no_arrivals(leases: Leases, patience: float, on_wait: Callable[[str], None]) -> Iterator[None]:
    """No mail lands meanwhile, so that all of a person's is found. What lands now ends before.

    Args:
        patience: seconds to wait at most.
        on_wait: called, if it has to wait, with what it waits for.

    Raises:
        LandingError: mail is still landing then.
    """
    deadline = monotonic() + patience
    what = "mail that is landing now, by an import or a fetch"
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(leases.hold(ARRIVALS))
                break
            except LeaseHeldError:
                if monotonic() > deadline:
                    raise LandingError(
                        "An import or a fetch is at work. Do the same again when it has ended."
                    ) from None
            if what:
                on_wait(what)
                what = ""
            sleep(POLL_SECONDS)
        yield


def landed_tickets(landing: LandingZone, ticket_ids: Collection[str]) -> set[str]:
    """Those of the tickets that have landed, also where retention has removed their bytes.

    Only file names and manifests are read.
    """
    sought = set(ticket_ids)
    landed = sought & {ticket_id for _, ticket_id in _message_files(landing)}
    for _, manifest in _manifests(landing):
        landed |= sought & _ticket_ids(manifest)
    return landed


def tickets_sent_by(
    landing: LandingZone,
    addresses: Collection[str],
    on_message: Callable[[int, int], None] | None = None,
) -> dict[str, set[str]]:
    """By canonical address, the tickets whose `From` names it. Only headers are read.

    Args:
        on_message: called with how many messages have been read, and how many there are.
    """
    tickets: dict[str, set[str]] = {canonical_address(address): set() for address in addresses}
    names = [name for name, _ in _message_files(landing)]
    # A row of an export is read whole.
    mails, rows = ([name for name in names if name.endswith(end)] for end in (".eml", ".json"))
    heads = chain(landing.files.read_many(mails, HEAD_BYTES), landing.files.read_many(rows))
    for number, (name, head) in enumerate(heads, 1):
        for address in tickets.keys() & _senders(landing, name, head, tickets):
            tickets[address].add(ticket_id_of(name.rpartition("/")[2]))
        if on_message:
            on_message(number, len(names))
    return tickets


def bury(landing: LandingZone, ticket_ids: Iterable[str]) -> None:
    """Remember that these tickets are erased, so that no source lands them again."""
    new = sorted(set(ticket_ids) - landing.erased())
    if not new:
        return
    lines = "".join(json.dumps({"ticket_id": ticket_id}) + "\n" for ticket_id in new)
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}"
    landing.files.replace(f"{ERASED}/{stamp}.jsonl", lines.encode())


def remove_labels(
    landing: LandingZone, ticket_ids: Collection[str], *, dry_run: bool = False
) -> int:
    """Remove the labels of the tickets, given by ticket id or by message id; returns how many.

    A label whose message id another ticket has too stays with that one. A file of labels keeps
    its name, so that the same labels do not land again.
    """
    gone = set(ticket_ids)
    tickets_of: dict[str, set[str]] = {}
    for line in landing.manifest_lines(day_folders(landing.files)):
        if line["message_id"]:
            tickets_of.setdefault(line["message_id"], set()).add(ticket_id_of(line["sha256"]))
    their_messages = {message_id for message_id, tickets in tickets_of.items() if tickets <= gone}

    def stays(line: bytes) -> bool:
        label = line_entries(line, ("ticket_id", "message_id"))
        if label is None:
            return False  # nobody can tell whose it is
        if label["ticket_id"]:
            return label["ticket_id"] not in gone
        return label["message_id"] not in their_messages

    files = landing.files.read_many(f"{LABELS}/{name}" for name in landing.label_files())
    return sum(_keep_lines(landing, name, content, stays, dry_run) for name, content in files)


def remove_messages(
    landing: LandingZone, ticket_ids: Collection[str], *, dry_run: bool = False
) -> RemovedMail:
    """Remove the manifest lines of the tickets, then their bytes: as long as those are there, an
    erasure by sender that was interrupted finds them again."""
    gone = set(ticket_ids)

    def stays(line: bytes) -> bool:
        entries = manifest_entries(line)
        return entries is not None and ticket_id_of(entries["sha256"]) not in gone

    lines = sum(
        _keep_lines(landing, name, manifest, stays, dry_run)
        for name, manifest in _manifests(landing)
    )
    names = [name for name, ticket_id in _message_files(landing) if ticket_id in gone]
    if not dry_run:
        _delete(landing, names)
    return RemovedMail(len(names), lines)


def list_purged(landing: LandingZone, day: date, messages: Iterable[LandedMessage]) -> None:
    """Note which messages of a day are to go. The list stays: labels name messages by their id,
    and a message that is on it does not land again."""
    purged = f"{day}/{MANIFESTS}/{PURGED_MANIFEST}"
    going = {message.content_hash for message in messages}
    of_day = landing.manifest_lines([day.isoformat()])
    known = {line["sha256"]: line for line in of_day if line["sha256"] in going}
    for _, lines in landing.lines_of([purged], "sha256"):
        known |= {line["sha256"]: line for line in lines}
    for message in messages:
        known.setdefault(message.content_hash, entries_of(message, None))  # had no line
    content = "".join(json.dumps(line) + "\n" for line in known.values())
    landing.files.replace(purged, content.encode())


def mark_purged(landing: LandingZone, day: date) -> None:
    """Record that the days up to this one are purged: they are not processed any more."""
    landing.files.replace(PURGED_UNTIL, f"{day}\n".encode())


def remove_purged(landing: LandingZone) -> int:
    """Remove the bytes of every message that was listed as purged; returns how many there were."""
    days = day_folders(landing.files)
    lists = (f"{day}/{MANIFESTS}/{PURGED_MANIFEST}" for day in days)
    purged = {
        name.partition("/")[0]: {line["sha256"] for line in lines}
        for name, lines in landing.lines_of(lists, "sha256")
    }
    gone = [
        f"{day}/{name}"
        for day, names in landing.files.names_in(purged)
        for name in names
        if MESSAGE_FILE.fullmatch(name) and name.partition(".")[0] in purged[day]
    ]
    until = str(landing.purged_until() or "")
    gone += [blob.name for blob in landing.files.list(DAMAGED) if blob.name.split("/")[1] <= until]
    _delete(landing, gone)
    return len(gone)


def _message_files(landing: LandingZone) -> Iterator[tuple[str, str]]:
    """Every message with its ticket id, those that are being erased or were set aside included."""
    for day, names in landing.files.names_in(day_folders(landing.files)):
        for name in filter(MESSAGE_FILE.fullmatch, names):
            yield f"{day}/{name}", ticket_id_of(name)
    for blob in landing.files.list(DAMAGED):
        yield blob.name, ticket_id_of(blob.name.rpartition("/")[2])


def _manifests(landing: LandingZone) -> Iterator[tuple[str, bytes]]:
    return landing.files.read_many(landing.manifests(day_folders(landing.files)))


def _ticket_ids(manifest: bytes) -> set[str]:
    return {ticket_id.decode() for ticket_id in _LINE_TICKET.findall(manifest)}


def _senders(landing: LandingZone, name: str, content: bytes, sought: Collection[str]) -> set[str]:
    """Canonical addresses in the `From` of a mail, of which `content` is the beginning, or in the
    sender columns of an export's row; none where the bytes of the header already show that it names
    none of the `sought`."""
    if name.endswith(".json"):
        try:
            row = json.loads(content)
            values = [str(row.get(field) or "") for field in ("sender", "sender_name")]
        except (ValueError, RecursionError, AttributeError):
            return set()  # a rejected row names no sender
    else:
        head = content
        if len(head) == HEAD_BYTES and not _HEAD_END.search(head):
            with suppress(BlobNotFoundError):
                head = landing.files.read(name)
        if b"\n" not in head:
            head = head.replace(b"\r", b"\n")
        header = b"".join(b"".join(_FROM.findall(head)).split()).lower()
        plain = header.isascii() and b"=?" not in header and b"\\" not in header
        if plain and not any(address.rpartition("@")[0].encode() in header for address in sought):
            return set()
        values = header_fields(split_message(head)[0]).get("from", [])
    return set(chain.from_iterable(map(addresses_in, values)))


def _keep_lines(
    landing: LandingZone, name: str, content: bytes, stays: Callable[[bytes], bool], dry_run: bool
) -> int:
    """Rewrite a blob with the lines that stay; returns how many go."""
    lines = content.splitlines(keepends=True)
    kept = [line for line in lines if stays(line)]
    if len(kept) < len(lines) and not dry_run:
        landing.files.replace(name, b"".join(kept))
    return len(lines) - len(kept)


def _delete(landing: LandingZone, names: list[str]) -> None:
    days = {name.partition("/")[0] for name in names} - {DAMAGED}
    with landing.changing(map(date.fromisoformat, days)) if days else nullcontext():
        landing.files.delete(names)
