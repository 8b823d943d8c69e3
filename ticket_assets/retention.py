"""Removes original mail and its whole text after the days for which they may be kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from ticket_assets.clock import refuse_clock_before_most
from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.removal import list_purged, mark_purged, remove_purged, removing
from ticket_assets.settings import SettingsError
from ticket_assets.storage.set_aside import remove_set_aside
from ticket_assets.storage.tables import Change

if TYPE_CHECKING:
    from ticket_assets.desk import Desk
    from ticket_assets.storage.warehouse import Warehouse

PURGED_COLUMNS = (
    "sender",
    "sender_name",
    "recipients",
    "subject",
    "body_text",
    "body_html",
    "attachments",
)
"""Columns of raw_tickets with persons and texts; ids, times, kind, source and size stay."""


USUAL_DAYS = 7
"""Nightly purges remove a day; after a pause of the schedule, some."""


class LargePurgeError(TicketAssetsError):
    """A purge would remove an unusual share: the clock may be wrong, or the setting new."""


@dataclass(frozen=True)
class Purge:
    """The result of a purge."""

    messages: int
    """Original messages removed from the landing zone."""
    rows: int
    """Rows of raw_tickets that lost sender, recipients and texts."""
    until: date | None
    """The last day that is purged; days are processed from the one after it."""
    waits_for: date | None
    """The first day that is old enough but stays, because it has not been processed yet."""
    never_processed: int
    """Removed messages that came too late to be processed."""


def purge(desk: Desk, today: date | None = None, *, large: bool = False) -> Purge:
    """Remove the original mail of days that ended more than `raw_mail_days` days ago.

    The days go in order, each when all of its mail has become clean tickets. Mail that landed too
    late, for a day that is no longer processed, goes as many days after its landing. The next purge
    completes one that was interrupted.

    Args:
        large: also when it removes most of what there is.

    Raises:
        LargePurgeError: it would remove most of what there is: of many days, or with the newest.
        ClockError: most of the mail is of days to come.
        SettingsError: no number of days is set.
        LandingError: another purge or erasure is under way.
        WarehouseError: the warehouse cannot be opened.
    """
    if desk.settings.raw_mail_days is None:
        raise SettingsError(
            "Original mail is kept for ever: set TICKETS_RAW_MAIL_DAYS, in the environment or in"
            " .env, to have it purged."
        )
    landing, warehouse = desk.landing, desk.warehouse
    refuse_clock_before_most(landing)
    today = today or datetime.now(UTC).date()
    last = today - timedelta(days=desk.settings.raw_mail_days + 1)
    if not landing.days() and landing.purged_until() is None:
        return Purge(0, 0, None, None, 0)
    with removing(landing, desk.leases):
        desk.remove_unfinished()
        remove_set_aside(desk.folder)
        first = landing.first_unpurged_day(desk.first_day)
        processed, waits_for = _processed_days(desk, first, last)
        if not large:
            _refuse_large(landing, processed, today, desk.settings.raw_mail_days)
        never_processed = 0
        if first is not None:
            landed_before = datetime.combine(last, time.max, UTC)
            never_processed = _list_late(landing, first, landed_before)
        for day in processed:
            list_purged(landing, day, list(landing.messages(day)))
        if processed:
            mark_purged(landing, processed[-1])
        # From here on runs refuse the purged days, so the removal may take its time.
        until = landing.purged_until()
        rows = _clear_texts(warehouse, until) if until else 0
        return Purge(remove_purged(landing), rows, until, waits_for, never_processed)


def _refuse_large(landing: LandingZone, days: list[date], today: date, kept_days: int) -> None:
    # Mail comes every week: where the newest is old, it may be the clock that has run ahead.
    takes_newest = kept_days >= USUAL_DAYS and days[-1:] == landing.days()[-1:]
    if not days or (len(days) <= USUAL_DAYS and not takes_newest):
        return
    old = sum(landing.counts(days).values())
    present = sum(landing.counts(landing.days()).values())
    if 2 * old > present:
        raise LargePurgeError(
            f"Nothing was purged: {old:,} of {present:,} original messages are older than"
            f" TICKETS_RAW_MAIL_DAYS, most of what there is, if today is {today}. If that is so and"
            " they may go: tickets purge --large."
        )


def _list_late(landing: LandingZone, first: date, landed_before: datetime) -> int:
    """Lists the messages of days before `first` for removal; returns their number."""
    count = 0
    for day in (day for day in landing.days() if day < first):
        late = [
            message
            for message in landing.messages(day)
            if message.landed_at <= landed_before and not landing.is_purged(message)
        ]
        if late:
            list_purged(landing, day, late)
        count += len(late)
    return count


def _processed_days(desk: Desk, first: date | None, last: date) -> tuple[list[date], date | None]:
    """The days to purge, in order, and the first one that is old enough but not processed."""
    processed: list[date] = []
    for day in desk.landing.days():
        if first is None or not first <= day <= last:
            continue
        if not _is_processed(desk, day):
            return processed, day
        processed.append(day)
    return processed, None


def _is_processed(desk: Desk, day: date) -> bool:
    """Whether the tables have every message of the day and all clean tickets of them."""
    from ticket_assets.text.cleaning import clean_tickets

    warehouse = desk.warehouse
    if not {"raw_tickets", "rejected_messages", "clean_tickets"} <= warehouse.tables():
        return False
    landed = {message.ticket_id for message in desk.landing.messages(day)}
    stored = warehouse.rows(
        "select ticket_id from raw_tickets where received_at::date = $1"
        " union all select content_hash[:20] from rejected_messages where received_at::date = $1",
        [day],
    )
    if not landed <= {ticket_id for (ticket_id,) in stored}:
        return False
    left_out = warehouse.frame(
        "from raw_tickets where received_at::date = ? and ticket_id not in"
        " (select ticket_id from clean_tickets)",
        [day],
    )
    # Automatic answers and empty messages have no clean ticket; any other still needs its text.
    remaining = clean_tickets(
        left_out,
        languages=desk.settings.languages,
        phone_regions=desk.settings.phone_regions,
        mask_ip_addresses=desk.settings.mask_ip_addresses,
    )
    return remaining.tickets.empty


def _clear_texts(warehouse: Warehouse, until: date) -> int:
    if "raw_tickets" not in warehouse.tables():
        return 0
    purged = f"received_at < timestamp '{until + timedelta(days=1)}'"
    is_whole = " or ".join(f"{column} is not null" for column in PURGED_COLUMNS)
    (rows,) = warehouse.row(
        f"select count(*) from raw_tickets where {purged} and ({is_whole})"  # noqa: S608
    )
    if rows or warehouse.keeps_former_rows:
        cleared = {
            column: f"case when {purged} then null else {column} end" for column in PURGED_COLUMNS
        }
        warehouse.rewrite({"raw_tickets": Change(replaced=cleared)})
    return int(rows)
