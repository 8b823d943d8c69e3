"""The landing zone: its marks, its lists, its manifests and the original mail."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import date
from typing import TYPE_CHECKING, Any

from ticket_assets.doctor.cursors import forget_sources
from ticket_assets.doctor.findings import REPAIR, Finding, first_of
from ticket_assets.mail.changed_days import MESSAGE_FILE, day_folders
from ticket_assets.mail.headers import bare_id, header_fields, message_id, split_message
from ticket_assets.mail.landing import (
    DAMAGED,
    ERASED,
    FIRST_DAY,
    LABEL_FIELDS,
    LABELS,
    MANIFESTS,
    PURGED_MANIFEST,
    PURGED_UNTIL,
    LandedMessage,
    LandingError,
    LandingZone,
    entries_of,
    is_damaged,
    line_entries,
    manifest_entries,
    manifest_line,
    ticket_id_of,
)
from ticket_assets.mail.originals import damaged_originals
from ticket_assets.mail.removal import removing
from ticket_assets.plural import counted
from ticket_assets.storage.warehouse import WarehouseError

if TYPE_CHECKING:
    from ticket_assets.desk import Desk

MADE_ANEW = "doctor.jsonl"
"""The manifest of messages that no other names; it sorts after the others and is written whole."""
_TICKET = re.compile(rb'"ticket_id": "([0-9a-f]{20})"')


def examine_lists(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """Its marks, and the lists of labels and of what was erased and purged, can be read."""
    with _alone(desk, repair):
        yield from _marks(desk.landing, repair)
        yield from _lists(desk.landing, repair)


def examine_originals(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """Every original is there, as it landed."""
    with _alone(desk, repair):
        yield from _originals(desk, repair)


def examine_manifests(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """Every original is named by a manifest that can be read."""
    with _alone(desk, repair):
        yield from _manifests(desk, repair)


def _alone(desk: Desk, repair: bool) -> AbstractContextManager[None]:
    """No erasure or purge goes on while something is repaired."""
    return removing(desk.landing, desk.leases) if repair else nullcontext()


def _marks(landing: LandingZone, repair: bool) -> Iterator[Finding]:
    for name, read in ((PURGED_UNTIL, landing.purged_until), (FIRST_DAY, landing.first_day)):
        try:
            read()
        except LandingError:
            purged = [
                day
                for day, names in landing.files.names_in(
                    f"{day}/{MANIFESTS}" for day in day_folders(landing.files)
                )
                if PURGED_MANIFEST in names
            ]
            if repair and name == PURGED_UNTIL and purged:
                landing.files.replace(name, f"{purged[-1].partition('/')[0]}\n".encode())
            elif repair:
                landing.files.delete([name])
                landing.settle_first_day()
            yield Finding(
                "a mark that is no day",
                f"{landing.files.location}/{name}",
                "made anew from what has landed" if repair else f"{REPAIR} makes it anew",
                repair,
            )


def _lists(landing: LandingZone, repair: bool) -> Iterator[Finding]:
    """Lists that nothing can stand for; what can be read of them is kept."""
    purged = [f"{day}/{MANIFESTS}/{PURGED_MANIFEST}" for day in day_folders(landing.files)]
    erased = [f"{ERASED}/{name}" for name in sorted(landing.files.names(ERASED))]
    labels = [f"{LABELS}/{name}" for name in landing.label_files()]
    for names, fields, loss in (
        (purged, ("sha256",), "import none of the purged mail again"),
        (erased, ("ticket_id",), "erase the persons of that day again"),
        (labels, LABEL_FIELDS, "import the same labels again"),
    ):
        for name, content in landing.files.read_many(names):
            lines = content.splitlines(keepends=True)
            kept = [line for line in lines if line_entries(line, fields)]
            if len(kept) == len(lines):
                continue
            if repair:
                _keep(landing, name, lines, kept)
            yield Finding(
                f"{counted(len(lines) - len(kept), 'line')} cut or altered",
                f"{landing.files.location}/{name}",
                f"{'the others are kept' if repair else f'{REPAIR} keeps the others'}; then {loss}",
                repair,
            )


def _keep(landing: LandingZone, name: str, lines: list[bytes], kept: list[bytes]) -> None:
    content = b"".join(kept)
    if name.startswith(ERASED):
        found = {match for line in lines for match in _TICKET.findall(line)}
        content = b"".join(b'{"ticket_id": "%b"}\n' % ticket_id for ticket_id in sorted(found))
    elif name.startswith(LABELS):
        # Under its own name the file would keep the same labels from landing again.
        if kept:
            landing.files.replace(f"{LABELS}/{hashlib.sha256(content).hexdigest()}.jsonl", content)
        landing.files.delete([name])
        return
    landing.files.replace(name, content)


def _originals(desk: Desk, repair: bool) -> Iterator[Finding]:
    landing = desk.landing
    place, again = landing.files.location, "import their mail again, which heals them"
    damaged = list(damaged_originals(landing))
    if damaged and not repair:
        yield Finding(
            f"{counted(len(damaged), 'original')} altered or cut; their days are refused",
            f"{place}/{first_of(damaged)}",
            f"{again}; {REPAIR} sets them aside and has the sources read anew",
        )
    if damaged and repair:
        landing.set_aside(damaged)
    aside = [blob.name for blob in landing.files.list(DAMAGED)]
    missing = _missing(desk)
    if repair and (damaged or missing):
        forget_sources(desk.cursors)
        again = f"`tickets fetch`, which reads its sources anew, or {again}"
    if aside:
        yield Finding(
            f"{counted(len(aside), 'original')} altered or cut, and set aside",
            f"{place}/{first_of(aside)}",
            f"{again}; to go on without them, remove the folder {place}/{DAMAGED}",
        )
    if missing:
        days = sorted({day for day, _ in missing})
        yield Finding(
            f"{counted(len(missing), 'original')} of which the tables know gone",
            f"{place}/{first_of(days)}",
            f"{again}; to go on without them: tickets run --from {days[0]} --to {days[-1]}",
        )


def _missing(desk: Desk) -> list[tuple[str, str]]:
    """Day and ticket of the rows whose original is neither there nor purged nor erased."""
    landing, warehouse = desk.landing, desk.warehouse
    try:
        if not {"raw_tickets", "rejected_messages"} <= warehouse.tables():
            return []
        rows = warehouse.rows(
            "select received_at::date::varchar as day, ticket_id from raw_tickets union all"
            " select received_at::date::varchar, content_hash[:20] from rejected_messages"
            " order by all"
        )
    except WarehouseError:
        return []  # the tables are looked at by themselves
    days = day_folders(landing.files)
    there = {
        ticket_id_of(name)
        for _, names in landing.files.names_in(days)
        for name in names
        if MESSAGE_FILE.fullmatch(name)
    }
    there |= {ticket_id_of(blob.name.rpartition("/")[2]) for blob in landing.files.list(DAMAGED)}
    there |= landing.erased() | set(map(ticket_id_of, landing.purged_hashes(days)))
    until = str(landing.purged_until() or "")
    return [(day, ticket_id) for day, ticket_id in rows if day > until and ticket_id not in there]


def _manifests(desk: Desk, repair: bool) -> Iterator[Finding]:
    landing = desk.landing
    cut: list[str] = []
    unnamed: list[LandedMessage] = []
    for day in day_folders(landing.files):
        names = [name for name in landing.manifests([day]) if not name.endswith(PURGED_MANIFEST)]
        for name, content in landing.files.read_many(names):
            lines = content.splitlines(keepends=True)
            kept = [line for line in lines if manifest_entries(line)]
            if len(kept) < len(lines):
                cut.append(name)
                if repair:
                    landing.files.replace(name, b"".join(kept))
        named = {line["sha256"] for line in landing.manifest_lines([day])}
        messages = landing.messages(date.fromisoformat(day))
        unnamed += [message for message in messages if message.content_hash not in named]
    place = landing.files.location
    if cut:
        yield Finding(
            f"{counted(len(cut), 'manifest')} with lines that were cut or altered",
            f"{place}/{first_of(cut)}",
            "without them now" if repair else f"{REPAIR} makes them anew from the mail",
            repair,
        )
    if not unnamed:
        return
    known = _known(desk, [message.ticket_id for message in unnamed]) if repair else {}
    unsure = [message.name for message in unnamed if message.ticket_id not in known]
    if repair:
        _name(landing, unnamed, known)
    loss = f"; the source of {len(unsure):,} of them is lost" if unsure else ""
    yield Finding(
        f"{counted(len(unnamed), 'original')} in no manifest: their message ids match no label",
        f"{place}/{first_of([message.name for message in unnamed])}",
        f"named again, from the tables and the mail itself{loss}"
        if repair
        else f"{REPAIR} names them again, from the tables and the mail itself",
        repair,
    )


def _known(desk: Desk, ticket_ids: list[str]) -> dict[str, dict[Hashable, Any]]:
    """What the tables know of where these tickets came from, by ticket."""
    import pandas as pd

    with suppress(WarehouseError):
        if "raw_tickets" in desk.warehouse.tables():
            rows = desk.warehouse.frame(
                "select ticket_id, source, received_at, received_at_source, message_id"
                " from raw_tickets where ticket_id in (select * from named)",
                frames={"named": pd.DataFrame({"ticket_id": ticket_ids})},
            )
            return {row["ticket_id"]: dict(row) for row in rows.to_dict("records")}
    return {}


def _name(
    landing: LandingZone, messages: list[LandedMessage], known: Mapping[str, Mapping[Hashable, Any]]
) -> None:
    lines: dict[str, list[str]] = {}
    names = {message.name: message for message in messages}
    for name, content in landing.files.read_many(names):
        message = names[name]
        if is_damaged(name, content):
            continue
        row = known.get(message.ticket_id)
        entries = entries_of(message, None if row else _message_id(message, content))
        if row:
            entries |= {
                "source": row["source"],
                "received_at": f"{row['received_at'].isoformat()}+00:00",
                "received_at_source": row["received_at_source"],
                "message_id": row["message_id"],
            }
        lines.setdefault(name.partition("/")[0], []).append(manifest_line(entries))
    for day, of_day in lines.items():
        manifest = f"{day}/{MANIFESTS}/{MADE_ANEW}"
        former = dict(landing.files.read_many([manifest])).get(manifest, b"")
        landing.files.replace(manifest, former + "".join(of_day).encode())


def _message_id(message: LandedMessage, content: bytes) -> str | None:
    if message.extension == "json":
        with suppress(ValueError, AttributeError):
            return bare_id(json.loads(content).get("message_id"))
        return None
    return message_id(header_fields(split_message(content)[0]))
